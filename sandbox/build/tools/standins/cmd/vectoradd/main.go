// vectoradd stands in for NVIDIA's CUDA sample: it passes only in a container that was given a GPU.
package main

import (
	"fmt"
	"math"
	"os"

	"kubepark.local/tools/standins/internal/gpus"
)

const elements = 50000

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "vectoradd: takes no arguments")
		os.Exit(2)
	}
	fmt.Printf("[Vector addition of %d elements]\n", elements)
	devices, err := gpus.Read(gpus.Path)
	if os.IsNotExist(err) {
		fmt.Fprintln(os.Stderr, "Failed to allocate device vector A "+
			"(error code CUDA driver version is insufficient for CUDA runtime version)!")
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("Stand-in without CUDA: the CPU adds the vectors. This container was given:")
	for place, uuid := range devices {
		fmt.Printf("  GPU %d (UUID: %s)\n", place, uuid)
	}
	if place, ok := add(); !ok {
		fmt.Fprintf(os.Stderr, "Result verification failed at element %d!\n", place)
		os.Exit(1)
	}
	fmt.Println("Test PASSED")
	fmt.Println("Done")
}

// add computes C = A + B in single precision and compares each element with the sum in double precision.
func add() (int, bool) {
	var a, b, c [elements]float32
	for i := range a {
		a[i] = float32(i%1000) / 1000
		b[i] = float32((7*i)%1000) / 1000
	}
	for i := range c {
		c[i] = a[i] + b[i]
	}
	for i := range c {
		if math.Abs(float64(a[i])+float64(b[i])-float64(c[i])) > 1e-5 {
			return i, false
		}
	}
	return 0, true
}
