// The AWS provider: Terraform's, bridged by Pulumi's bridge as the official one is. That one's module is in no
// registry, so the types that the program uses are named here. Its other differences are in
// docs/decisions/aws-provider.md.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"time"

	"github.com/hashicorp/terraform-provider-aws/shim"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	tfshim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	sdkv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/x/muxer"
	"github.com/pulumi/pulumi-terraform-bridge/v3/unstable/metadata"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

// Of the SDK for which the types below are named; the plugin's folder says which one is installed.
const version = "7.51.1"

var resources = map[string]tokens.Type{
	"aws_default_security_group":        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
	"aws_ec2_instance_state":            "aws:ec2transitgateway/instanceState:InstanceState",
	"aws_ec2_subnet_cidr_reservation":   "aws:ec2/subnetCidrReservation:SubnetCidrReservation",
	"aws_eip":                           "aws:ec2/eip:Eip",
	"aws_iam_instance_profile":          "aws:iam/instanceProfile:InstanceProfile",
	"aws_iam_openid_connect_provider":   "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
	"aws_iam_role":                      "aws:iam/role:Role",
	"aws_iam_role_policy":               "aws:iam/rolePolicy:RolePolicy",
	"aws_instance":                      "aws:ec2/instance:Instance",
	"aws_internet_gateway":              "aws:ec2/internetGateway:InternetGateway",
	"aws_kms_alias":                     "aws:kms/alias:Alias",
	"aws_kms_key":                       "aws:kms/key:Key",
	"aws_network_interface":             "aws:ec2/networkInterface:NetworkInterface",
	"aws_route":                         "aws:ec2/route:Route",
	"aws_route_table":                   "aws:ec2/routeTable:RouteTable",
	"aws_route_table_association":       "aws:ec2/routeTableAssociation:RouteTableAssociation",
	"aws_s3_bucket":                     "aws:s3/bucket:Bucket",
	"aws_s3_bucket_policy":              "aws:s3/bucketPolicy:BucketPolicy",
	"aws_s3_bucket_public_access_block": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
	"aws_s3_bucket_server_side_encryption_configuration": "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
	"aws_s3_bucket_versioning":                           "aws:s3/bucketVersioning:BucketVersioning",
	"aws_scheduler_schedule":                             "aws:scheduler/schedule:Schedule",
	"aws_scheduler_schedule_group":                       "aws:scheduler/scheduleGroup:ScheduleGroup",
	"aws_security_group":                                 "aws:ec2/securityGroup:SecurityGroup",
	"aws_ssm_parameter":                                  "aws:ssm/parameter:Parameter",
	"aws_subnet":                                         "aws:ec2/subnet:Subnet",
	"aws_vpc":                                            "aws:ec2/vpc:Vpc",
	"aws_vpc_security_group_egress_rule":                 "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
	"aws_vpc_security_group_ingress_rule":                "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
	"aws_vpc_security_group_rules_exclusive":             "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive",
}

var functions = map[string]tokens.ModuleMember{
	"aws_ssm_parameter":          "aws:ssm/getParameter:getParameter",
	"aws_ssm_parameters_by_path": "aws:ssm/getParametersByPath:getParametersByPath",
}

// Names that are not what the bridge makes of Terraform's, and the one type that the program gives no name.
var fields = map[string]map[string]*tfbridge.SchemaInfo{
	"aws_default_security_group": {"egress": {Name: "egress"}, "ingress": {Name: "ingress"}},
	"aws_security_group": {
		"egress": {Name: "egress"}, "ingress": {Name: "ingress"}, "name": tfbridge.AutoName("name", 255, "-"),
	},
}

// Outputs that are the id of what has none in Terraform.
var ids = map[string]resource.PropertyKey{"aws_vpc_security_group_rules_exclusive": "securityGroupId"}

func main() {
	go endWith(os.Getppid())
	// An emulator is consistent at once, so what waits for AWS to be does not: the provider's own switch for tests.
	os.Setenv("VCR_MODE", "REPLAY_ONLY")
	os.Setenv("VCR_PATH", os.DevNull)
	log.SetOutput(io.Discard)
	ctx := context.Background()
	info, err := provider(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pf.MainWithMuxer(ctx, info.Name, info, []byte("{}"))
}

// provider is what the bridge serves, with its types spread over Terraform's two kinds of providers.
func provider(ctx context.Context) (tfbridge.ProviderInfo, error) {
	info := tfbridge.ProviderInfo{
		Name:         "aws",
		Version:      version,
		Resources:    map[string]*tfbridge.ResourceInfo{},
		DataSources:  map[string]*tfbridge.DataSourceInfo{},
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
		// As the official provider's.
		EnableAccurateBridgePreview: true,
		EnableRawStateDelta:         true,
	}
	primary, secondary, err := shim.New(ctx)
	if err != nil {
		return info, err
	}
	planned := sdkv2.WithPlanResourceChange(func(string) bool { return true })
	info.P = pf.MuxShimWithPF(ctx, sdkv2.NewProvider(primary, planned), secondary)
	for name, token := range resources {
		schema := info.P.ResourcesMap().Get(name).Schema()
		row := &tfbridge.ResourceInfo{Tok: token, Fields: fields[name], PreCheckCallback: complete(schema)}
		if id, ok := ids[name]; ok {
			row.ComputeID = tfbridge.DelegateIDField(id, info.Name, "")
		}
		info.Resources[name] = row
	}
	for name, token := range functions {
		info.DataSources[name] = &tfbridge.DataSourceInfo{Tok: token}
	}
	table, err := info.P.(interface {
		ResolveDispatch(*tfbridge.ProviderInfo) (muxer.DispatchTable, error)
	}).ResolveDispatch(&info)
	if err != nil {
		return info, err
	}
	return info, metadata.Set(info.GetMetadata(), "mux", table)
}

// complete fills in the inputs that the official provider takes from the provider's settings.
func complete(schema tfshim.SchemaMap) tfbridge.PreCheckCallback {
	_, regional := schema.GetOk("region")
	all, tagged := schema.GetOk("tags_all")
	tagged = tagged && all.Optional()
	return func(_ context.Context, inputs, settings resource.PropertyMap) (resource.PropertyMap, error) {
		inputs = inputs.Copy()
		if regional && inputs["region"].IsNull() {
			inputs["region"] = settings["region"]
		}
		if tagged {
			inputs["tagsAll"] = allTags(inputs["tags"], settings["defaultTags"])
		}
		return inputs, nil
	}
}

// allTags are a resource's own and those that all resources have.
func allTags(own, defaults resource.PropertyValue) resource.PropertyValue {
	if own.ContainsUnknowns() || defaults.ContainsUnknowns() {
		return resource.MakeComputed(resource.NewStringProperty(""))
	}
	all := resource.PropertyMap{}
	if defaults.IsObject() && defaults.ObjectValue()["tags"].IsObject() {
		maps.Copy(all, defaults.ObjectValue()["tags"].ObjectValue())
	}
	if own.IsObject() {
		maps.Copy(all, own.ObjectValue())
	}
	return resource.NewObjectProperty(all)
}

// kill -9 of the engine sends no signal.
func endWith(parent int) {
	for os.Getppid() == parent {
		time.Sleep(500 * time.Millisecond)
	}
	os.Exit(1)
}
