#!/usr/bin/python3
"""kp-aws: a node's AWS calls, made with Python's standard library alone.

    kp-aws identity                        what the metadata service says, as NAME=value lines
    kp-aws get-parameter NAME              the (decrypted) value
    kp-aws get-parameters-by-path PATH     JSON list of {"Name", "Value"}, sorted by name
    kp-aws put-parameter NAME [--secure]   overwrites it with what comes on stdin

Secrets never appear in arguments. Exit 0, or 1 with one line on stderr. The node's Python programs call
the functions instead (`runpy.run_path`), which spares them a process for each call; what would be the
line on stderr is then the text of `SystemExit`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

NODE_FILE = Path("/etc/kubepark/node.json")
TIMEOUT = 10  # seconds, per request
TRIES = 8
LONGEST_PAUSE = 20  # seconds
TRANSIENT = re.compile("Throttl|TooManyUpdates|RequestLimitExceeded")  # come with HTTP status 400
# The environment's names are those of the AWS SDKs.
METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254") + "/latest/"
# Seconds after the boot. KMS may need five minutes to see a new alias; our policies name the key by it. The
# alias is older than the machine. Source: KMS developer guide, "Use aliases to control access to KMS keys".
ALIAS_SEEN = 300
# Names of the placeholders in the kubeadm templates, and where their values are.
IDENTITY = {
    "INSTANCE_ID": "instance-id",
    "INSTANCE_TYPE": "instance-type",
    "PRIVATE_IP": "local-ipv4",
    "PUBLIC_IP": "public-ipv4",
    "AVAILABILITY_ZONE": "placement/availability-zone",
    "REGION": "placement/region",
}


def http(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, proxy: bool = True
) -> tuple[int, str]:
    """Status and text of the answer, after retries with growing, jittered pauses.

    Retried are throttling, server faults and no answer at all; other 4xx answers are returned.
    """
    request = urllib.request.Request(url, body, dict(headers), method=method)
    handlers = [] if proxy else [urllib.request.ProxyHandler({})]
    opener = urllib.request.build_opener(*handlers)
    problem = ""
    for tried in range(TRIES):
        if tried:
            time.sleep(random.uniform(0.1, min(LONGEST_PAUSE, 2**tried / 2)))
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            if error.code < 500 and error.code != 429 and not TRANSIENT.search(text):
                return error.code, text
            problem = f"HTTP {error.code} {text[:200]}"
        except (OSError, HTTPException) as error:  # refused, unreachable, timed out, cut short
            problem = str(error)
    raise SystemExit(f"kp-aws: {url}: {problem} ({TRIES} tries)")


def metadata_token() -> str:
    """For version 2 of the metadata service. Asked for anew each time: a boot can outlive it."""
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    return http("PUT", f"{METADATA}api/token", ttl, proxy=False)[1]


def metadata(path: str, token: str) -> str:
    """What the metadata service has at `path`; "" where it has nothing."""
    headers = {"X-aws-ec2-metadata-token": token}
    status, text = http("GET", f"{METADATA}meta-data/{path}", headers, proxy=False)
    return text if status == 200 else ""


def identity() -> dict[str, str]:
    """This machine, by the names of the placeholders."""
    token = metadata_token()
    found = {name: metadata(path, token) for name, path in IDENTITY.items()}
    found["PUBLIC_IP"] = found["PUBLIC_IP"] or found["PRIVATE_IP"]  # behind a NAT gateway
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise SystemExit(f"kp-aws: the metadata service has no {', '.join(missing)}")
    return {**found, "PROVIDER_ID": f"aws:///{found['AVAILABILITY_ZONE']}/{found['INSTANCE_ID']}"}


def credentials() -> dict[str, str]:
    """The credentials of this machine's role."""
    token = metadata_token()
    role = metadata("iam/security-credentials/", token)
    text = metadata(f"iam/security-credentials/{role}", token) if role else ""
    if not text:
        raise SystemExit("kp-aws: the metadata service has no role credentials")
    found: dict[str, str] = json.loads(text)
    return found


def sign(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    secrets: Mapping[str, str],
    now: str,
    service: str = "ssm",
) -> dict[str, str]:
    """`headers` (lower case) and those that Signature Version 4 adds. `now`: 20261123T101500Z."""
    signed = {
        **headers,
        "host": urllib.parse.urlsplit(url).netloc,
        "x-amz-date": now,
        "x-amz-security-token": secrets["Token"],
    }
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
    canonical = "\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    key = ("AWS4" + secrets["SecretAccessKey"]).encode()
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={secrets['AccessKeyId']}/{scope}, "
        f"SignedHeaders={names}, Signature={key.hex()}"
    )
    return signed


def ssm(node: Mapping[str, Any], action: str, **parameters: Any) -> dict[str, Any]:
    """One call of Parameter Store's JSON 1.1 protocol, repeated while KMS may not see the key's alias yet."""
    region = node["region"]
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or node["awsEndpoint"]
    url = (endpoint or f"https://ssm.{region}.amazonaws.com").rstrip("/") + "/"
    body = json.dumps(parameters).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"AmazonSSM.{action}"}
    while True:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        status, text = http("POST", url, sign(url, headers, body, region, credentials(), now), body)
        refused_by_kms = "AccessDenied" in text and "kms" in text.lower()  # also "(Service: AWSKMS; ..."
        if status == 200 or not refused_by_kms or time.monotonic() > ALIAS_SEEN:  # Linux: since the boot
            break
        print(f"waiting: KMS refuses {action} as yet", file=sys.stderr, flush=True)
        time.sleep(LONGEST_PAUSE)
    if status != 200:
        # A complaint about a value may quote it.
        raise SystemExit(f"kp-aws: {action}: {text.replace(str(parameters.get('Value')), '[value]')}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def get_parameter(node: Mapping[str, Any], name: str) -> str:
    """The value, decrypted."""
    return str(ssm(node, "GetParameter", Name=name, WithDecryption=True)["Parameter"]["Value"])


def put_parameter(node: Mapping[str, Any], name: str, value: str, *, secure: bool = False) -> None:
    kind = {"Type": "SecureString", "KeyId": node["clusterKeyAlias"]} if secure else {"Type": "String"}
    ssm(node, "PutParameter", Name=name, Value=value, Overwrite=True, Tier="Standard", **kind)


def by_path(node: Mapping[str, Any], path: str) -> list[dict[str, str]]:
    """All parameters right below `path`, page by page."""
    found: list[dict[str, str]] = []
    more: dict[str, str] = {}
    while True:
        page = ssm(node, "GetParametersByPath", Path=path, WithDecryption=True, **more)
        found += [{"Name": each["Name"], "Value": each["Value"]} for each in page["Parameters"]]
        if not page.get("NextToken"):
            return sorted(found, key=lambda each: each["Name"])
        more = {"NextToken": page["NextToken"]}


def main(verb: str, name: str = "", secure: str = "") -> None:
    if verb == "identity":
        print("".join(f"{key}={value}\n" for key, value in identity().items()), end="")
        return
    node = json.loads(NODE_FILE.read_text())
    if verb == "get-parameter":
        print(get_parameter(node, name))
    elif verb == "get-parameters-by-path":
        print(json.dumps(by_path(node, name)))
    elif verb == "put-parameter":
        put_parameter(node, name, sys.stdin.read(), secure=bool(secure))
    else:
        raise SystemExit(f"kp-aws: unknown verb {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
