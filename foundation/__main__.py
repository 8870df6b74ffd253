"""What an AWS account needs once: the state bucket, the key, GitHub's identity provider and its roles."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# The engine runs this file by path; what it uses lies beside the folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pulumi
import pulumi_aws as aws

from config.naming import TAG_CLUSTER
from config.problems import SettingsError
from config.settings import configuration
from foundation import documents
from foundation.settings import Settings, parse


def main() -> None:
    try:
        settings = parse(pulumi.get_stack(), configuration())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None  # the one exception that prints without a traceback
    in_aws = pulumi.ResourceOptions(provider=provider(settings))
    kept = pulumi.ResourceOptions.merge(in_aws, pulumi.ResourceOptions(protect=settings.protected))
    key_arn = key(settings, kept)
    name = bucket(settings, key_arn, kept)
    issuer = aws.iam.OpenIdConnectProvider(
        "github", url=f"https://{documents.ISSUER}", client_id_lists=[documents.AUDIENCE], opts=in_aws
    )
    after = pulumi.ResourceOptions.merge(in_aws, pulumi.ResourceOptions(depends_on=[issuer]))
    arns = {plan.use: role(settings, plan, after) for plan in documents.roles(settings)}

    pulumi.export("bucket", name)
    pulumi.export("key_arn", key_arn)
    pulumi.export("roles", arns)
    names = [each.name for each in settings.environments]
    names += [documents.REVIEW] if settings.review_stacks else []
    pulumi.export("backend_urls", {each: documents.backend_url(settings.aws, each) for each in names})
    pulumi.export(
        "secrets_providers", {each: documents.secrets_provider(settings.aws, each) for each in names}
    )


def provider(settings: Settings) -> aws.Provider:
    """The one AWS provider: it refuses another account, and tags whatever it makes."""
    url = settings.aws.endpoint
    everywhere = aws.ProviderEndpointArgs(ec2=url, iam=url, kms=url, s3=url, s3control=url, ssm=url, sts=url)
    return aws.Provider(
        "aws",
        region=settings.aws.region,
        allowed_account_ids=[settings.aws.account_id],
        endpoints=[everywhere] if url else None,
        s3_use_path_style=True if url else None,  # an emulator has no name for each bucket
        default_tags=aws.ProviderDefaultTagsArgs(tags={TAG_CLUSTER: documents.NO_CLUSTER}),
    )


def key(settings: Settings, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The key of state and stack secrets. Without it both are lost, so it takes a month to go."""
    made = aws.kms.Key(
        "key",
        description="kubepark: state and stack secrets",
        enable_key_rotation=True,
        deletion_window_in_days=30,
        policy=json.dumps(documents.key_policy(settings.aws)),
        opts=opts,
    )
    aws.kms.Alias("key", name=documents.KEY_ALIAS, target_key_id=made.key_id, opts=opts)
    return made.arn


def bucket(
    settings: Settings, key_arn: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The state bucket: closed to the public, versioned, under our key, by TLS only."""
    made = aws.s3.Bucket("state", bucket=documents.bucket_name(settings.aws), opts=opts)
    aws.s3.BucketPublicAccessBlock(
        "state",
        bucket=made.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=opts,
    )
    aws.s3.BucketVersioning(
        "state",
        bucket=made.id,
        versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=opts,
    )
    by_key = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="aws:kms", kms_master_key_id=key_arn
    )
    # With a bucket key the context would be the bucket's ARN, and an environment's state no longer its own.
    rule = aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
        apply_server_side_encryption_by_default=by_key, bucket_key_enabled=False
    )
    aws.s3.BucketServerSideEncryptionConfiguration("state", bucket=made.id, rules=[rule], opts=opts)
    policy = json.dumps(documents.bucket_policy(settings.aws))
    aws.s3.BucketPolicy("state", bucket=made.id, policy=policy, opts=opts)
    return made.id


def role(settings: Settings, plan: documents.RolePlan, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    made = aws.iam.Role(
        plan.use,
        name=plan.name,
        path=documents.PATH,
        description=plan.description,
        assume_role_policy=json.dumps(documents.trust(settings.aws, plan.subject)),
        opts=opts,
    )
    for name, document in plan.policies.items():
        aws.iam.RolePolicy(
            f"{plan.use}-{name}", name=name, role=made.name, policy=json.dumps(document), opts=opts
        )
    return made.arn


main()
