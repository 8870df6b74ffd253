"""The hours of GPU nodes: schedules that start and stop them, and the role that AWS does it with.

Nothing in a document is known to AWS alone, as in `iam.py`: which instances are meant is said by their tags.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import pulumi
from pulumi_aws import iam, scheduler

from components.iam import Document, start_and_stop
from config import schedule as hours
from config.model import AwsSettings, Schedule
from config.naming import Naming, partition


def trust_policy(aws: AwsSettings, naming: Naming) -> Document:
    """The role is for the schedules of our group.

    Source: EventBridge Scheduler user guide, "Confused deputy prevention": a group's ARN, no narrower one.
    """
    group = f"schedule-group/{naming.schedule_group}"
    ours = {
        "aws:SourceAccount": aws.account_id,
        "aws:SourceArn": f"arn:{partition(aws.region)}:scheduler:{aws.region}:{aws.account_id}:{group}",
    }
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "scheduler.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": ours},
            }
        ],
    }


def role_policy(nodes: Collection[str], aws: AwsSettings, naming: Naming) -> Document:
    """Start and stop of the instances of these GPU nodes."""
    return {"Version": "2012-10-17", "Statement": start_and_stop(aws, naming, nodes)}


class GpuSchedule(pulumi.ComponentResource):
    """Two schedules for each GPU node, in a group of their own, and one role for all."""

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        ids: Mapping[str, pulumi.Output[str]],
        aws: AwsSettings,
        naming: Naming,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:GpuSchedule", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        group = scheduler.ScheduleGroup(name, name=naming.schedule_group, opts=child)
        role = iam.Role(
            name,
            name=naming.role_name("schedule"),
            description="kubepark starts and stops GPU nodes by the hours of the stack",
            assume_role_policy=json.dumps(trust_policy(aws, naming)),
            opts=child,
        )
        policy = json.dumps(role_policy(ids, aws, naming))
        allowed = iam.RolePolicy(name, name="schedule", role=role.name, policy=policy, opts=child)
        for node, instance in ids.items():
            for event in hours.plan(schedule):
                scheduler.Schedule(
                    f"{name}-{node}-{event.verb}",
                    name=naming.schedule(node, event.verb),
                    group_name=group.name,
                    schedule_expression=event.cron,
                    schedule_expression_timezone=schedule.timezone,
                    flexible_time_window={"mode": "OFF"},
                    target={
                        "arn": f"arn:{partition(aws.region)}:scheduler:::aws-sdk:ec2:{event.action}",
                        "role_arn": role.arn,
                        "input": pulumi.Output.json_dumps({"InstanceIds": [instance]}),
                        "retry_policy": {"maximum_event_age_in_seconds": event.retry_seconds},
                    },
                    # What `keep-on` sets; and a change makes a schedule anew, for an update would send the
                    # state's date again, which AWS refuses once it has passed.
                    opts=pulumi.ResourceOptions(
                        parent=self,
                        depends_on=[allowed],
                        ignore_changes=["start_date"],
                        replace_on_changes=["schedule_expression", "schedule_expression_timezone", "target"],
                        delete_before_replace=True,
                    ),
                )
        self.register_outputs({})
