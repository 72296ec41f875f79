"""Java and the jars of Kafka and Spark, which Maven downloads once."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from data.errors import StreamError
from data.settings import project_root

JAVA = 17
"""Minimum Java version of Kafka 4 and Spark 4."""
FETCH_S = 600
_HERE = Path(__file__).parent


def kafka_jars() -> Path:
    """Return the folder of Kafka's jars; see `fetched_jars`."""
    return fetched_jars("kafka", _HERE / "kafka-pom.xml")


def spark_jars() -> Path:
    """Return the folder of the jars that Spark lacks: Delta, its Kafka source, S3; see `fetched_jars`."""
    return fetched_jars("spark", _HERE.parents[1] / "serving" / "lakehouse" / "pom.xml")


def fetched_jars(name: str, pom: Path) -> Path:
    """Return the folder of a pom's jars. Blocks for at most `FETCH_S` if Maven has to download them.

    The downloads do not depend on settings, so they are stored in the checkout's `var/`, even if the state is elsewhere.

    Raises:
        StreamError: Maven is missing or failed.
    """
    folder = project_root() / "var" / "components" / name
    done = folder / "done"
    wanted = pom.read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may start together; closing the file releases the lock
        if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
            for old in folder.iterdir():
                old.unlink()
            _fetch(name, pom, folder)
            done.write_text(wanted, encoding="utf-8")
    return folder


def _fetch(name: str, pom: Path, folder: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise StreamError(f"Maven is missing; it downloads {name}.", remedy="apt-get install maven, or brew install maven")
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        run = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True, timeout=FETCH_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StreamError(
            f"Maven did not download {name} within {FETCH_S} s.", remedy="Check the connection to its repository."
        ) from error
    if run.returncode:
        lines = [line for line in (run.stdout + run.stderr).splitlines() if "ERROR" in line] or ["no message"]
        raise StreamError(f"Maven failed to download {name}.", found=lines[0], remedy=f"Details: {' '.join(command[:-1])}")


def require_java() -> str:
    """Return the path of the Java program.

    Raises:
        StreamError: Java is missing or too old.
    """
    home = os.environ.get("JAVA_HOME")  # Spark looks here first
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    remedy = f"apt-get install openjdk-{JAVA}-jre-headless, or brew install openjdk@{JAVA}"
    if not java:
        raise StreamError(
            "Java is missing; Kafka and Spark need it.",
            found=f"JAVA_HOME={home}" if home else None,
            expected=f"java {JAVA} or newer on the PATH",
            remedy=remedy,
        )
    line = java_version(java)
    version = re.search(r'version "(\d+)', line)
    if not version or int(version[1]) < JAVA:
        found = line or "no version in the output of java -version"
        raise StreamError("This Java is too old for Kafka and Spark.", found=found, expected=f"{JAVA} or newer", remedy=remedy)
    return java


def java_version(java: str) -> str:
    """Return the line of `java -version` with the version, or an empty string. Other lines name options of the environment."""
    output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    return next((line for line in output.splitlines() if 'version "' in line), "")
