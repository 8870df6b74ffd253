// operator stands in for Calico's operator: it runs where and when that one would, and does nothing.
package main

import (
	"fmt"
	"os"

	"kubepark.local/tools/standins/internal/end"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintf(os.Stderr, "operator: the stand-in takes no arguments, got %q\n", os.Args[1:])
		os.Exit(2)
	}
	asked, stop := end.Asked()
	defer stop()
	fmt.Println("stand-in for Calico's operator: pods are connected from outside the cluster")
	<-asked.Done()
}
