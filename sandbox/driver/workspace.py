"""Where the engine works: its folders, its environment, and fresh copies of the project's files.

The engine writes to the stack file that it is given (salt, encrypted values), so it is given a copy
in `.sandbox/work`; the repository's own files are only read. The copy is the stack file plus what a
sandbox generates by itself: a password hash per person and the OIDC client secret, encrypted.
Encrypting takes the CLI; merging does not, so a prepared copy costs no CLI call until somebody new
appears in the stack file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from sandbox.config import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SandboxConfig
from sandbox.driver import stackfile
from sandbox.errors import SandboxError
from sandbox.files import atomic_write

_PEOPLE_FILE = re.compile(rf"^\s*{stackfile.PEOPLE_FILE}:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)
BCRYPT_COST = 10  # the least that the program takes; generated passwords have 96 random bits

# Credentials, profiles and defaults of the person at the keyboard never reach a sandbox.
_FOREIGN_PREFIXES = ("AWS_", "PULUMI_OPTION_")
_FOREIGN = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN", "PULUMI_STACK", "PULUMI_CONFIG"}


class Workspace:
    """The engine's side of one sandbox. `prepare` first; then `environment` and `work_dir` are right."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.stack = config.stack
        self.work_dir = config.work_dir
        self.project = _project_name(config.root / "Pulumi.yaml")
        self.stack_copy = self.work_dir / f"Pulumi.{config.stack}.yaml"

    @property
    def passphrase_file(self) -> Path:
        return self.config.state_dir / "passphrase"

    @property
    def passwords_file(self) -> Path:
        """The generated passwords, for the person who wants to log in. Nothing else reads it."""
        return self.config.state_dir / "passwords.txt"

    @property
    def checkpoint_file(self) -> Path:
        """Where the file backend keeps this stack's state."""
        return self.config.backend_dir / ".pulumi" / "stacks" / self.project / f"{self.stack}.json"

    @property
    def lock_dir(self) -> Path:
        """One file per process that holds the stack; the file names its pid and host."""
        return self.config.backend_dir / ".pulumi" / "locks" / "organization" / self.project / self.stack

    @property
    def engine_log(self) -> Path:
        """What the CLI itself prints. We render its events; this is for a post-mortem."""
        return self.config.log_dir / "pulumi.log"

    def variables(self) -> dict[str, str]:
        """The variables that make a plain `pulumi` work on this stack (`kubepark env` prints them)."""
        path = os.environ.get("PATH", os.defpath)
        first = str(self.config.bin_dir)
        return {
            "PATH": path if path.startswith(first) else f"{first}{os.pathsep}{path}",
            "PULUMI_HOME": str(self.config.pulumi_home),
            # Without sidecar files: they are not written atomically, and a program that reads its own
            # stack's outputs while the engine saves the state would now and then meet an empty one.
            "PULUMI_BACKEND_URL": f"file://{self.config.backend_dir}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.passphrase_file),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": str(self.config.kubeconfig),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": self.config.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def environment(self) -> dict[str, str]:
        """The whole environment of the CLI and of the plugins it starts."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN_PREFIXES) and name not in _FOREIGN
        }
        direct = ",".join(filter(None, [inherited.get("no_proxy"), "127.0.0.1,localhost"]))
        return {**inherited, **self.variables(), "no_proxy": direct, "NO_PROXY": direct}

    def cli(self) -> str:
        """Path of the `pulumi` executable. `SandboxError` if there is none."""
        found = shutil.which("pulumi", path=self.variables()["PATH"])
        if found is None:
            raise SandboxError("pulumi is neither built nor on PATH: run `make tools`")
        return found

    def run_cli(self, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a short CLI command in the work folder and give its standard output.

        Secrets travel in `variables`, never in `arguments`. Raises `SandboxError` with the CLI's words.
        """
        done = subprocess.run(
            [self.cli(), "--non-interactive", "--color", "never", *arguments],
            cwd=self.work_dir,
            env={**self.environment(), **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            what = " ".join(arguments[:2])
            raise SandboxError(f"`pulumi {what}` failed:\n{(done.stderr or done.stdout).strip()}")
        return done.stdout

    # -- preparation -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folders, secrets, stack and working copies. Two CLI calls at first, later none."""
        for folder in (self.work_dir, self.config.backend_dir, self.config.pulumi_home, self.config.log_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.config.state_dir.chmod(0o700)
        if not self.passphrase_file.exists():
            atomic_write(self.passphrase_file, secrets.token_urlsafe(32))
        source = self.config.stack_file.read_text(encoding="utf-8")
        shutil.copyfile(self.config.root / "Pulumi.yaml", self.work_dir / "Pulumi.yaml")
        seal = self.work_dir / f".{self.stack}.seal"
        if self.checkpoint_file.exists() and seal.exists() and seal.read_text() == self._seal(source):
            return
        self._write_copy(source)
        atomic_write(seal, self._seal(source))

    def _seal(self, source: str) -> str:
        """Digest of everything that the working copy is made of, and of the copy itself."""
        digest = hashlib.sha256(source.encode())
        listed = [self.config.root / name for name in _PEOPLE_FILE.findall(source)]
        for path in (self.config.secrets_file, self.passphrase_file, self.stack_copy, *listed):
            digest.update(path.read_bytes() if path.exists() else b"\0")
        return digest.hexdigest()

    def _write_copy(self, source: str) -> None:
        document = stackfile.parse(source, self.config.stack_file.name)
        stackfile.require_no_secrets(document, self.config.stack_file.name)
        people = stackfile.people_without_hash(document, self.config.root)
        connectors = stackfile.connectors_without_secret(document)
        stored = self._load_secrets()
        self._generate(stored, people, connectors)
        stackfile.merge(document, stored, people, connectors)
        atomic_write(self.stack_copy, stackfile.dump(document))
        if not self.checkpoint_file.exists():
            self.run_cli("stack", "init", self.stack)
        wanted = stored.values(people, connectors)
        missing = {path: value for path, value in wanted.items() if path not in stored.ciphers}
        if missing:
            self._encrypt(missing, stored)
            stackfile.merge(document, stored, people, connectors)
            atomic_write(self.stack_copy, stackfile.dump(document))
        self._save_secrets(stored)

    def _encrypt(self, values: Mapping[str, str], stored: stackfile.StackSecrets) -> None:
        """Let the CLI encrypt `values` into the copy, and note salt and ciphertexts from there."""
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([f"{path}={value}" for path, value in values.items()])
        # Every flag can be given by a variable; an argument would be readable by any user (`ps`).
        variables = {"PULUMI_OPTION_SECRET": line.getvalue()}
        self.run_cli("config", "set-all", "--path", "--stack", self.stack, variables=variables)
        document = stackfile.parse(self.stack_copy.read_text(encoding="utf-8"), self.stack_copy.name)
        stored.salt = document["encryptionsalt"]
        stored.ciphers.update({path: stackfile.cipher(document["config"], path) for path in values})

    def _generate(self, stored: stackfile.StackSecrets, people: list[str], connectors: list[str]) -> None:
        """Invent what is missing: a password and its hash for each person, the clients' secrets."""
        stored.client_secret = stored.client_secret or secrets.token_urlsafe(32)
        for connector in connectors:
            stored.connectors.setdefault(connector, secrets.token_urlsafe(32))
        new = [person for person in people if person not in stored.hashes]
        if not new:
            return
        import bcrypt  # only here: most runs generate nothing

        passwords = {person: secrets.token_urlsafe(12) for person in new}
        with ThreadPoolExecutor() as pool:  # bcrypt lets go of the interpreter lock
            hashes = pool.map(
                lambda password: bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode(),
                passwords.values(),
            )
            stored.hashes.update(zip(new, hashes, strict=True))
        known = self.passwords_file.read_text().splitlines() if self.passwords_file.exists() else []
        lines = [f"{self.stack}  {person}  {password}" for person, password in passwords.items()]
        valid = [line for line in known if line.split()[:2] not in [new.split()[:2] for new in lines]]
        atomic_write(self.passwords_file, "\n".join([*valid, *lines]) + "\n")

    def set_hash(self, person: str, hashed: str) -> None:
        """Keep the hash of a password that the person chose. It is written down nowhere."""
        stored = self._load_secrets()
        stored.hashes[person] = hashed
        stored.ciphers.pop(stackfile.hash_path(person), None)
        self._save_secrets(stored)
        if self.passwords_file.exists():
            lines = self.passwords_file.read_text().splitlines()
            kept = [line for line in lines if line.split()[:2] != [self.stack, person]]
            atomic_write(self.passwords_file, "".join(f"{line}\n" for line in kept))

    def hashes(self) -> dict[str, str]:
        """The hashes by person."""
        return dict(self._load_secrets().hashes)

    def _load_secrets(self) -> stackfile.StackSecrets:
        if not self.config.secrets_file.exists():
            return stackfile.StackSecrets()
        stacks = json.loads(self.config.secrets_file.read_text(encoding="utf-8"))
        return stackfile.StackSecrets(**stacks.get(self.stack, {}))

    def _save_secrets(self, stored: stackfile.StackSecrets) -> None:
        path = self.config.secrets_file
        stacks = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        atomic_write(path, json.dumps({**stacks, self.stack: asdict(stored)}, indent=1) + "\n")


def _project_name(project_file: Path) -> str:
    for line in project_file.read_text(encoding="utf-8").splitlines():
        if line.startswith("name:"):
            return line.removeprefix("name:").strip().strip("\"'")
    raise SandboxError(f"{project_file} has no `name:` line")
