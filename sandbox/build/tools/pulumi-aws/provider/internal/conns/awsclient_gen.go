// Clients of the services that `sdkv2` lists, and of what those mention.

package conns

import (
	"context"
	neturl "net/url"

	"github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	endpoints "github.com/aws/smithy-go/endpoints"
	"github.com/hashicorp/terraform-provider-aws/internal/errs"
	"github.com/hashicorp/terraform-provider-aws/names"
)

type fixed string

func (url fixed) ResolveEndpoint(context.Context, s3control.EndpointParameters) (endpoints.Endpoint, error) {
	parsed, err := neturl.Parse(string(url))
	if err != nil {
		return endpoints.Endpoint{}, err
	}
	return endpoints.Endpoint{URI: *parsed}, nil
}

func of[T any](ctx context.Context, c *AWSClient, name string) T {
	return errs.Must(client[T](ctx, c, name, make(map[string]any)))
}

func (c *AWSClient) AccountClient(ctx context.Context) *account.Client {
	return of[*account.Client](ctx, c, names.Account)
}
func (c *AWSClient) EC2Client(ctx context.Context) *ec2.Client {
	return of[*ec2.Client](ctx, c, names.EC2)
}
func (c *AWSClient) IAMClient(ctx context.Context) *iam.Client {
	return of[*iam.Client](ctx, c, names.IAM)
}
func (c *AWSClient) KMSClient(ctx context.Context) *kms.Client {
	return of[*kms.Client](ctx, c, names.KMS)
}
func (c *AWSClient) OrganizationsClient(ctx context.Context) *organizations.Client {
	return of[*organizations.Client](ctx, c, names.Organizations)
}
func (c *AWSClient) S3Client(ctx context.Context) *s3.Client { return of[*s3.Client](ctx, c, names.S3) }

// S3ControlClient has no host of its own for each account: an emulator has one for all.
func (c *AWSClient) S3ControlClient(ctx context.Context) *s3control.Client {
	client := of[*s3control.Client](ctx, c, names.S3Control)
	return s3control.New(client.Options(), func(options *s3control.Options) {
		if options.BaseEndpoint != nil {
			options.EndpointResolverV2 = fixed(*options.BaseEndpoint)
		}
	})
}
func (c *AWSClient) SchedulerClient(ctx context.Context) *scheduler.Client {
	return of[*scheduler.Client](ctx, c, names.Scheduler)
}
func (c *AWSClient) SSMClient(ctx context.Context) *ssm.Client {
	return of[*ssm.Client](ctx, c, names.SSM)
}
