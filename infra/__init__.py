"""The AWS CDK application: everything that Headroom needs in an account."""
