"""The AWS stand-in: the provider's types over the AWS API of a local emulator."""
