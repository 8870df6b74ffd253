// Package shim lets a bridge have the provider, whose constructors are internal.
package shim

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-provider-aws/internal"
	"github.com/hashicorp/terraform-provider-aws/internal/provider/framework"
	"github.com/hashicorp/terraform-provider-aws/internal/provider/sdkv2"
)

// New gives both halves of the provider: one of each framework of Terraform's. The second rests on the first.
func New(ctx context.Context) (*schema.Provider, provider.Provider, error) {
	internal.RegisterSmarterrFS()
	primary, err := sdkv2.NewProvider(ctx)
	if err != nil {
		return nil, nil, err
	}
	secondary, err := framework.NewProvider(ctx, primary)
	return primary, secondary, err
}
