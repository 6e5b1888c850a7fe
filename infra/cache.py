"""The cache of leases, and the network that it and its actuator are in."""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.default_group import close_default_group
from infra.deployment import Deployment
from infra.parts import allow, retention, role

CACHE_PORT: Final = 6379
# As docs/suspend-actuator.md has them; a test compares.
ACTUATOR_COMMANDS: Final = "on ~headroom:suspended:* -@all +eval +get +set +time"
READER_COMMANDS: Final = "on ~headroom:suspended:* -@all +get"


class Cache:
    """A serverless cache with two users that log in by IAM: one that writes leases, one that reads them."""

    def __init__(self, scope: Construct, deployment: Deployment, key: cdk.aws_kms.IKey, network: ec2.IVpc) -> None:
        self.name = f"{deployment.name}-leases"
        self.actuator, self.reader = f"{deployment.name}-actuator", f"{deployment.name}-reader"
        self.clients = ec2.SecurityGroup(
            scope, "CacheClients", vpc=network, description="May reach the cache of leases", allow_all_outbound=False
        )
        own = ec2.SecurityGroup(
            scope, "CacheGroup", vpc=network, description="The cache of leases", allow_all_outbound=False
        )
        # A serverless cache answers reads on the next port too.
        ports = ec2.Port.tcp_range(CACHE_PORT, CACHE_PORT + 1)
        own.add_ingress_rule(self.clients, ports, "Valkey by TLS")
        self.clients.add_egress_rule(own, ports, "Valkey by TLS")
        users = [
            elasticache.CfnUser(
                scope,
                name,
                engine="valkey",
                user_id=user,
                user_name=user,
                authentication_mode={"Type": "iam"},
                access_string=commands,
            )
            for name, user, commands in (
                ("Actuator", self.actuator, ACTUATOR_COMMANDS),
                ("Reader", self.reader, READER_COMMANDS),
            )
        ]
        group = elasticache.CfnUserGroup(
            scope,
            "CacheUsers",
            engine="valkey",
            user_group_id=f"{deployment.name}-leases",
            user_ids=[user.ref for user in users],
        )
        self._cache = elasticache.CfnServerlessCache(
            scope,
            "Cache",
            engine="valkey",
            major_engine_version="8",
            serverless_cache_name=self.name,
            description="Leases of suspended partition keys",
            kms_key_id=key.key_arn,
            security_group_ids=[own.security_group_id],
            subnet_ids=network.select_subnets(
                subnet_type=None if deployment.network else ec2.SubnetType.PRIVATE_ISOLATED
            ).subnet_ids,
            user_group_id=group.ref,
            # Leases are few and small; a limit on both keeps a mistake from costing much.
            cache_usage_limits={
                "dataStorage": {"unit": "GB", "maximum": 1},
                "ecpuPerSecond": {"maximum": 10_000},
            },
        )
        self._user_arns = {user.user_id: user.attr_arn for user in users}

    @property
    def address(self) -> str:
        """The host that clients connect to."""
        return str(self._cache.attr_endpoint_address)

    def connect(self, user: str) -> cdk.aws_iam.PolicyStatement:
        """The right to log in as a user."""
        return allow(["elasticache:Connect"], [self._cache.attr_arn, self._user_arns[user]])


def cache_network(scope: Construct, deployment: Deployment, key: cdk.aws_kms.IKey) -> ec2.IVpc:
    """The one that is named, else one without a way in or out: Lambda polls the queue and takes logs from outside."""
    if given := deployment.network:
        named = ec2.Vpc.from_vpc_attributes(
            scope,
            "Network",
            vpc_id=given.vpc_id,
            availability_zones=list(given.availability_zones),
            private_subnet_ids=list(given.subnet_ids),
        )
        for subnet in named.private_subnets:
            cdk.Annotations.of(subnet).acknowledge_warning(
                "@aws-cdk/aws-ec2:noSubnetRouteTableId", "No route is added to a network that others own."
            )
        return named
    network = ec2.Vpc(
        scope,
        "Network",
        max_azs=2,
        nat_gateways=0,
        subnet_configuration=[
            ec2.SubnetConfiguration(name="cache", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=26)
        ],
        restrict_default_security_group=False,
    )
    close_default_group(scope, network, deployment, key)
    log_group = logs.LogGroup(
        scope, "NetworkLogs", encryption_key=key, retention=retention(deployment.log_retention_days)
    )
    flow_role = role(
        scope,
        "NetworkLogs",
        "vpc-flow-logs.amazonaws.com",
        [
            allow(["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], [log_group.log_group_arn]),
            allow(
                ["logs:DescribeLogGroups"],
                [f"arn:{cdk.Aws.PARTITION}:logs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:log-group:*"],
            ),
        ],
        # Source: https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
        ArnLike={"aws:SourceArn": f"arn:{cdk.Aws.PARTITION}:ec2:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:vpc-flow-log/*"},
    )
    network.add_flow_log(
        "Flows",
        destination=ec2.FlowLogDestination.to_cloud_watch_logs(log_group, flow_role),
        traffic_type=ec2.FlowLogTrafficType.REJECT,
    )
    return network


def private_subnets(deployment: Deployment) -> ec2.SubnetSelection:
    """Where the actuator is put."""
    if deployment.network:
        return ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
    return ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)


def network_interfaces() -> list[cdk.aws_iam.PolicyStatement]:
    """What Lambda needs of a function's role to put it into a network.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, which also has the key by which the
    function itself is denied these calls.
    """
    actions = [
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ]
    by_the_function_itself = {"ArnLike": {"lambda:SourceFunctionArn": f"arn:{cdk.Aws.PARTITION}:lambda:*:*:function:*"}}
    deny = cdk.aws_iam.PolicyStatement(
        effect=cdk.aws_iam.Effect.DENY, actions=["ec2:*"], resources=["*"], conditions=by_the_function_itself
    )
    return [allow(actions, ["*"]), deny]
