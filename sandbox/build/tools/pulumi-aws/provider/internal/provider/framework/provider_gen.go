// Of the services that the program uses. The framework writes out all settings of an endpoint for each of them that
// it checks, which takes seconds at every start with the four hundred that there are.

package framework

import "github.com/hashicorp/terraform-plugin-framework/provider/schema"

func endpointsBlock() schema.SetNestedBlock {
	attributes := map[string]schema.Attribute{}
	for _, service := range []string{"ec2", "iam", "kms", "s3", "s3control", "scheduler", "ssm", "sts"} {
		attributes[service] = schema.StringAttribute{Optional: true}
	}
	return schema.SetNestedBlock{NestedObject: schema.NestedBlockObject{Attributes: attributes}}
}
