// Package end is how a container's main process is asked to end.
package end

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Asked gives a context that is done when SIGTERM or SIGINT arrives. As process 1 of a container a
// program has to listen for them: the kernel's own default does not apply to it.
func Asked() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// Fail prints one line that names the program and exits with 1.
func Fail(program string, reason any) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, reason)
	os.Exit(1)
}
