"""A Pulumi project of its own: what an AWS account needs once, before its clusters (docs/foundation.md)."""
