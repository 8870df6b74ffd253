"""Where Pulumi's CLI works for a sandbox stack: its environment, and a copy of the stack file.

The CLI writes to the stack file that it is given (salt, encrypted values), so it is given a copy in
`.sandbox/work`; the repository's own files are only read. The copy is the stack file plus what a sandbox
generates by itself: a password hash per person and clients' secrets, encrypted by the CLI. Only their
ciphertexts are kept, so a copy costs no call of the CLI until somebody new appears in the stack file.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import yaml

from sandbox import stackfile
from sandbox.config import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SandboxConfig
from sandbox.errors import SandboxError
from sandbox.files import atomic_write, read_json
from sandbox.stackfile import Ciphers

BCRYPT_COST = 10  # the least that the program takes; generated passwords have 96 random bits

# Credentials, profiles and defaults of the person at the keyboard never reach a sandbox.
_FOREIGN_PREFIXES = ("AWS_", "PULUMI_OPTION_", "PULUMI_DIY_BACKEND_", "PULUMI_SELF_MANAGED_STATE_")
_FOREIGN = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG"}


class Workspace:
    """The CLI's side of one sandbox. After `prepare` a plain `pulumi` works on the stack in `environment`.

    `secrets`: those of the stack by config path, in place of what a sandbox generates by itself.
    """

    def __init__(self, config: SandboxConfig, secrets: Mapping[str, str] | None = None) -> None:
        self.config = config
        self._given = secrets
        self.stack = config.stack
        self.work_dir = config.work_dir
        self.project: str = yaml.safe_load((config.root / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
        self.stack_copy = self.work_dir / f"Pulumi.{config.stack}.yaml"
        self.passphrase_file = config.state_dir / "passphrase"
        # The generated passwords, for the person who wants to log in. Nothing else reads it.
        self.passwords_file = config.state_dir / "passwords.txt"
        backend = config.backend_dir / ".pulumi"
        self.checkpoint_file = backend / "stacks" / self.project / f"{self.stack}.json"  # the stack's state
        # One file per process that holds the stack; the file names its pid and host.
        self.lock_dir = backend / "locks" / "organization" / self.project / self.stack

    def variables(self) -> dict[str, str]:
        """The variables that make a plain `pulumi` work on this stack (`kubepark env` prints them)."""
        path = os.environ.get("PATH", os.defpath)
        first = str(self.config.bin_dir)
        return {
            "PATH": path if path.startswith(first) else f"{first}{os.pathsep}{path}",
            "PULUMI_STACK": self.stack,
            # Every flag of the CLI can be given by a variable.
            "PULUMI_OPTION_CONFIG_FILE": str(self.stack_copy),
            "PULUMI_HOME": str(self.config.pulumi_home),
            # Without sidecar files: they are not written atomically, and a program that reads its own
            # stack's outputs while the engine saves the state would now and then meet an empty one.
            "PULUMI_BACKEND_URL": f"file://{self.config.backend_dir}?metadata=skip",
            "PULUMI_DIY_BACKEND_ZSTD": "false",  # it is a folder here, which whoever looks can read
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.passphrase_file),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": str(self.config.kubeconfig),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": self.config.region,
            "AWS_ENDPOINT_URL": self.config.aws.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": _direct(),
            "NO_PROXY": _direct(),
        }

    def foreign(self) -> list[str]:
        """Names in the person's own environment that would lead the CLI elsewhere."""
        foreign = {name for name in os.environ if name.startswith(_FOREIGN_PREFIXES)} | _FOREIGN
        return sorted(foreign - self.variables().keys())

    def environment(self) -> dict[str, str]:
        """The whole environment of the CLI and of the plugins it starts."""
        foreign = self.foreign()
        inherited = {name: value for name, value in os.environ.items() if name not in foreign}
        return {**inherited, **self.variables()}

    # -- preparation -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folders, secrets, stack and copies. Two CLI calls at first, later none."""
        for folder in (self.work_dir, self.config.backend_dir, self.config.pulumi_home, self.config.log_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.config.state_dir.chmod(0o700)
        self._keep_no_log()
        if not self.passphrase_file.exists():
            atomic_write(self.passphrase_file, secrets.token_urlsafe(32))
        shutil.copyfile(self.config.root / "Pulumi.yaml", self.work_dir / "Pulumi.yaml")
        name = self.config.stack_file.name
        document = stackfile.parse(self.config.stack_file.read_text(encoding="utf-8"), name)
        stackfile.require_no_secrets(document, name)
        stackfile.set_endpoints(document, self.config.aws.url, self.config.api.url)
        kept = self._kept()
        wanted = stackfile.generated_paths(document, self.config.root) if self._given is None else []
        stackfile.merge(document, kept, wanted)
        atomic_write(self.stack_copy, stackfile.dump(document))
        if not self.checkpoint_file.exists():
            self._cli("stack", "init", self.stack)
        missing = [path for path in wanted if path not in kept.values]
        values = self._generate(missing) if self._given is None else self._given
        if values:
            # An argument would be readable by any user (`ps`).
            self._cli("config", "set-all", "--path", PULUMI_OPTION_SECRET=_csv_line(values))
            kept.update(self._read_copy())
        stacks = {**read_json(self.config.secrets_file), self.stack: vars(kept)}
        atomic_write(self.config.secrets_file, json.dumps(stacks, indent=1) + "\n")

    def _keep_no_log(self) -> None:
        """Be in the way of the CLI's automatic log, which has every property of every call: there is no
        option for it, and where its folder cannot be made the CLI goes on without."""
        logs = self.config.pulumi_home / "logs"
        if logs.is_dir():
            shutil.rmtree(logs)
        if not logs.exists():
            atomic_write(logs, "In the way of the CLI's automatic log: docs/decisions/automatic-log.md\n")

    def _kept(self) -> Ciphers:
        """The ciphertexts so far; one that was changed by `pulumi config set` in the copy wins."""
        kept = Ciphers(**read_json(self.config.secrets_file).get(self.stack, {}))
        if self.stack_copy.exists():
            changed = kept.update(self._read_copy())
            self._forget_passwords({name for path in changed if (name := stackfile.person_of(path))})
        return kept

    def _read_copy(self) -> Ciphers:
        text = self.stack_copy.read_text(encoding="utf-8")
        return stackfile.ciphers_in(stackfile.parse(text, self.stack_copy.name))

    def _generate(self, paths: list[str]) -> dict[str, str]:
        """A value for each path of the configuration: a secret, or the hash of a password that is noted."""
        people = {path: name for path in paths if (name := stackfile.person_of(path))}
        values = {path: secrets.token_urlsafe(32) for path in paths if path not in people}
        if not people:
            return values
        import bcrypt  # only here: most runs generate nothing

        passwords = {name: secrets.token_urlsafe(12) for name in people.values()}
        with ThreadPoolExecutor() as pool:  # bcrypt lets go of the interpreter lock
            hashes = pool.map(
                lambda password: bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode(),
                passwords.values(),
            )
            values.update(zip(people, hashes, strict=True))
        self._forget_passwords(set(passwords))
        with self.passwords_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{self.stack}  {name}  {password}\n" for name, password in passwords.items())
        return values

    def _forget_passwords(self, people: set[str]) -> None:
        """They are no longer those that were generated, or there was none yet."""
        known = self.passwords_file.read_text().splitlines() if self.passwords_file.exists() else []
        valid = [line for line in known if tuple(line.split()[:2]) not in {(self.stack, p) for p in people}]
        atomic_write(self.passwords_file, "".join(f"{line}\n" for line in valid))

    def _cli(self, *arguments: str, **variables: str) -> None:
        """A short command of the CLI in the work folder. Raises `SandboxError` with its message."""
        environment: Mapping[str, str] = {**self.environment(), **variables}
        pulumi = shutil.which("pulumi", path=environment["PATH"])
        if pulumi is None:
            raise SandboxError("pulumi is neither built nor on PATH: run `make tools`")
        done = subprocess.run(
            [pulumi, "--non-interactive", "--color", "never", *arguments],
            cwd=self.work_dir,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            what = " ".join(arguments[:2])
            raise SandboxError(f"`pulumi {what}` failed:\n{(done.stderr or done.stdout).strip()}")


def _direct() -> str:
    """What is asked without a proxy: whatever the person says, and this machine."""
    own = ("127.0.0.1", "localhost")
    named = [host for host in os.environ.get("no_proxy", "").split(",") if host and host not in own]
    return ",".join([*named, *own])


def _csv_line(values: Mapping[str, str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{path}={value}" for path, value in values.items()])
    return line.getvalue()
