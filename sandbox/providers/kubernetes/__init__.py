"""Stand-in for the Pulumi provider `kubernetes`: the same rules, a real API server, loopback only."""
