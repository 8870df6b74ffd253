// In the place of the SDK's file of this name, which has a Go type for each kind, and with them 62 packages and
// 26 MB of source. They serve programs that read what their objects became; the provider registers objects, no
// more. Tokens are the same.
package v2

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

type object struct {
	pulumi.CustomResourceState
}

// RegisterResource registers a Kubernetes object; objects of the core group have no group in their apiVersion.
func RegisterResource(ctx *pulumi.Context, apiVersion, kind, name string, props pulumi.Input,
	opts ...pulumi.ResourceOption) (pulumi.CustomResource, error) {
	if !strings.Contains(apiVersion, "/") {
		apiVersion = "core/" + apiVersion
	}
	var registered object
	if err := ctx.RegisterResource("kubernetes:"+apiVersion+":"+kind, name, props, &registered, opts...); err != nil {
		return nil, err
	}
	return &registered, nil
}
