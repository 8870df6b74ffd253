"""The boot process: watches the emulator's instances and makes nodes of them.

It stands where the hypervisor and the machine itself stand on AWS. What a node knows comes from its
own user data, read back through the AWS API, and from what the metadata service would tell it; what
it may do is decided by the emulator's own routes, security groups and role policies.
"""
