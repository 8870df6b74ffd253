// Of the services that the program uses, and those whose clients these need.

package sdkv2

import (
	"context"

	"github.com/hashicorp/terraform-provider-aws/internal/conns"
	"github.com/hashicorp/terraform-provider-aws/internal/service/ec2"
	"github.com/hashicorp/terraform-provider-aws/internal/service/iam"
	"github.com/hashicorp/terraform-provider-aws/internal/service/kms"
	"github.com/hashicorp/terraform-provider-aws/internal/service/s3"
	"github.com/hashicorp/terraform-provider-aws/internal/service/s3control"
	"github.com/hashicorp/terraform-provider-aws/internal/service/scheduler"
	"github.com/hashicorp/terraform-provider-aws/internal/service/ssm"
)

func servicePackages(ctx context.Context) []conns.ServicePackage {
	return []conns.ServicePackage{
		ec2.ServicePackage(ctx),
		iam.ServicePackage(ctx),
		kms.ServicePackage(ctx),
		s3.ServicePackage(ctx),
		s3control.ServicePackage(ctx),
		scheduler.ServicePackage(ctx),
		ssm.ServicePackage(ctx),
	}
}
