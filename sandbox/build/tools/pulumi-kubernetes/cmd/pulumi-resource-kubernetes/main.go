// The official Kubernetes provider. Its own main package cannot be built from its module, which lacks two
// generated files; they are copies of these two, which the build lays beside this file.
package main

import (
	_ "embed"
	"os"
	"time"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var mapping []byte

// The release whose tag is the commit in the pseudo-version that go.mod pins.
const version = "4.25.0"

func main() {
	go endWith(os.Getppid())
	provider.Serve("kubernetes", version, schema, mapping)
}

// kill -9 of the engine sends no signal; the provider itself would notice after five minutes.
func endWith(parent int) {
	for os.Getppid() == parent {
		time.Sleep(500 * time.Millisecond)
	}
	os.Exit(1)
}
