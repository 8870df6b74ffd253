"""One instance from the inside: what its software can call, and how it reports.

Every call first asks whether a real machine could make it: is it switched on, does a packet get out,
may its role do this. What fails, fails with the message that the node's own tools would print.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from sandbox.aws.account import HTTPS, Account, unreachable
from sandbox.aws.calls import LookupRefused, needed
from sandbox.aws.cloud import Instance
from sandbox.aws.statements import Call
from sandbox.nodes.cloudinit import UserData
from sandbox.record import Origin, encode


class CallFailed(Exception):
    """A call that the node could not make. The text is what it would print."""


class PowerLost(Exception):
    """The instance is not running any more: whatever the machine was doing has ended."""


class Machine:
    """A running instance with its user data. `instance` is as fresh as the last call."""

    def __init__(
        self, account: Account, instance: Instance, user_data: UserData, powered: Callable[[], bool]
    ) -> None:
        self.account = account
        self.instance = instance
        self.user_data = user_data
        self._powered = powered

    # -- the outside world -------------------------------------------------------------------------

    def check_power(self) -> None:
        """Raises `PowerLost` unless the instance runs at this moment."""
        found = self.account.cloud.running(self.instance.id) if self._powered() else None
        if found is None:
            raise PowerLost(self.instance.id)
        self.instance = found

    def fetch(self, host: str, port: int) -> None:
        """Stands for a download from a public host. Raises `CallFailed` with curl's message."""
        self.check_power()
        if not self.account.network.reaches_internet(self.instance, port):
            raise CallFailed(unreachable(host, port))

    def identity(self) -> dict[str, str]:
        """The metadata service's answers, by the placeholders of the kubeadm documents."""
        instance = self.instance
        return {
            "INSTANCE_ID": instance.id,
            "INSTANCE_TYPE": instance.type,
            "PRIVATE_IP": instance.private_ip,
            "PUBLIC_IP": instance.public_ip or instance.private_ip,  # behind a NAT gateway
            "AVAILABILITY_ZONE": instance.zone,
            "REGION": self.account.cloud.region,
            "PROVIDER_ID": instance.provider_id,
        }

    # -- Parameter Store ---------------------------------------------------------------------------

    def get_parameter(self, name: str) -> str:
        """The decrypted value. Raises `CallFailed`."""
        answer = self._ssm("GetParameter", f"get-parameter {name}", Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    def get_parameters_by_path(self, path: str) -> dict[str, str]:
        """All parameters right below `path`, name -> value. Raises `CallFailed`."""
        what = f"get-parameters-by-path {path}"
        found: dict[str, str] = {}
        query: dict[str, Any] = {"Path": path, "WithDecryption": True}
        while True:
            page = self._ssm("GetParametersByPath", what, **query)
            found |= {each["Name"]: each["Value"] for each in page["Parameters"]}
            if not page.get("NextToken"):
                return found
            query["NextToken"] = page["NextToken"]

    def put_parameter(self, name: str, value: str, *, secure: bool = False) -> None:
        """Overwrite a parameter, as a SecureString under the cluster's key if `secure`."""
        parameters = {"Name": name, "Value": value, "Overwrite": True, "Type": "String"}
        if secure:
            parameters |= {"Type": "SecureString", "KeyId": str(self.user_data.node["clusterKeyAlias"])}
        self._ssm("PutParameter", f"put-parameter {name}", **parameters)

    def _ssm(self, action: str, what: str, **parameters: Any) -> Any:
        """One call of Parameter Store, if AWS would let the machine make it. `what`: the verb of kp-aws."""
        cloud = self.account.cloud
        try:
            for call in needed(cloud, self.instance, f"ssm:{action}", parameters):
                self._authorize(what, call)
        except LookupRefused as error:
            raise CallFailed(f"kp-aws {error}") from None
        if len(parameters.get("Value", "")) > 4096:
            raise CallFailed(f"kp-aws {what}: {action}: ValidationException: value over 4096 characters")
        method = getattr(cloud.ssm, xform_name(action))
        try:
            return method(**parameters)
        except ClientError as error:
            answer = error.response["Error"]
            raise CallFailed(f"kp-aws {what}: {answer['Code']}: {answer.get('Message', '')}") from None

    def _authorize(self, what: str, call: Call) -> None:
        """Power, network and role, in the order in which a machine meets them."""
        self.check_power()
        if not self.account.network.reaches_internet(self.instance, HTTPS):
            url = f"https://ssm.{self.account.cloud.region}.amazonaws.com/"
            raise CallFailed(f"kp-aws {what}: {url}: <urlopen error timed out>")
        if not self.account.permissions.evaluate(self.instance.profile, call).allowed:
            raise CallFailed(
                f"kp-aws {what}: AccessDeniedException: the role of {self.instance.id} "
                f"is not authorized to perform: {call.action} on resource: {call.resource}"
            )

    # -- what the scripts do with it ---------------------------------------------------------------

    def hosts(self) -> dict[str, str]:
        """Name -> address from the cluster's hosts parameters. Raises `CallFailed`."""
        path = self.user_data.parameter("hostsPath")
        found: dict[str, str] = {}
        for name, value in self.get_parameters_by_path(path).items():
            try:
                for address, names in json.loads(value)["rows"]:
                    found |= dict.fromkeys(names, address)
            except (ValueError, KeyError, TypeError):
                raise CallFailed(f"refresh-hosts: {name} holds no rows") from None
        if not found:
            raise CallFailed(f"refresh-hosts: no rows below {path}")
        return found

    def report(self, origin: Origin, phase: str, step: str, rc: int = 0, message: str = "") -> str | None:
        """Write the status record: None, or why it could not be delivered (never fatal to the node)."""
        try:
            self.put_parameter(self.user_data.parameter("status"), encode(origin, phase, step, rc, message))
        except CallFailed as error:
            return str(error)
        return None
