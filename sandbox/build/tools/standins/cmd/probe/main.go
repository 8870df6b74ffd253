// probe is what tests of a cluster run in their pods: it looks at the network from the inside.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"kubepark.local/tools/standins/internal/end"
)

const usage = `usage: probe sleep [SECONDS] | print TEXT... | resolve NAME | get URL`

const patience = 5 * time.Second

func main() {
	asked, stop := end.Asked()
	defer stop()
	if len(os.Args) < 2 {
		fail(2, usage)
	}
	verb, arguments := os.Args[1], os.Args[2:]
	var err error
	switch {
	case verb == "sleep" && len(arguments) <= 1:
		err = sleep(asked, arguments)
	case verb == "print":
		fmt.Println(strings.Join(arguments, " "))
	case verb == "resolve" && len(arguments) == 1:
		err = resolve(asked, arguments[0])
	case verb == "get" && len(arguments) == 1:
		err = get(asked, arguments[0])
	default:
		fail(2, usage)
	}
	if err != nil {
		fail(1, err)
	}
}

func fail(code int, reason any) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(code)
}

// sleep waits for so many seconds, or until it is asked to end.
func sleep(asked context.Context, arguments []string) error {
	if len(arguments) == 0 {
		<-asked.Done()
		return nil
	}
	seconds, err := strconv.ParseFloat(arguments[0], 64)
	if err != nil || seconds < 0 {
		return fmt.Errorf("%q is no number of seconds", arguments[0])
	}
	select {
	case <-asked.Done():
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	}
	return nil
}

// resolve prints the addresses of a name as the container's resolv.conf has it, one per line.
func resolve(asked context.Context, name string) error {
	limited, cancel := context.WithTimeout(asked, patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limited, name)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, "\n"))
	return nil
}

// get prints the body of an answer; any status but 200 is an error that has it as well.
func get(asked context.Context, url string) error {
	limited, cancel := context.WithTimeout(asked, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, answer.Status, strings.TrimSpace(string(body)))
	}
	_, err = os.Stdout.Write(body)
	return err
}
