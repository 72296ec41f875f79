"""Real servers from Maven that run in Java: DynamoDB Local and ElasticMQ, each on its own port of 127.0.0.1."""

import os
import subprocess
from pathlib import Path

import httpx

from orchestration.local.jars import fetched_jars
from tests.serving.running import spare_port
from tests.waiting import until_passes

HERE = Path(__file__).parent
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


def jars(name: str) -> Path:
    """Folder with the jars that `<name>.xml` lists, fetched once by Maven."""
    return fetched_jars(name, HERE / f"{name}.xml")


class JavaServer:
    """A server that can be stopped and started again on the same port; its data is in memory unless a subclass stores it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, spare_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / f"{type(self).__name__}.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        until_passes(lambda: httpx.get(self.url, timeout=2), retry=httpx.HTTPError)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class DynamoDB(JavaServer):
    """DynamoDB Local, with its data in a file that survives a restart."""

    def command(self) -> list[str]:
        libs = jars("dynamodb")
        return [
            "java",
            "-Xmx256m",
            f"-Djava.library.path={libs}",
            "-cp",
            f"{libs}/*",
            str(HERE / "DynamoDbOnLoopback.java"),
            "-port",
            str(self.port),
            "-sharedDb",
            "-dbPath",
            str(self.folder),
            "-disableTelemetry",
        ]

    def table(self, name: str) -> str:
        """Create an empty table as the AWS template does; returns its name."""
        client = aws("dynamodb", self.url)
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
        return name


class ElasticMQ(JavaServer):
    """SQS."""

    def command(self) -> list[str]:
        config = self.folder / "elasticmq.conf"
        config.write_text(
            f'rest-sqs {{ enabled = true, bind-port = {self.port}, bind-hostname = "127.0.0.1" }}\n'
            f'rest-stats {{ enabled = false }}\nnode-address {{ host = "127.0.0.1", port = {self.port} }}\n'
            f'messages-storage {{ enabled = true, uri = "jdbc:h2:{self.folder}/elasticmq" }}\n'
            f'queues-storage {{ enabled = true, path = "{self.folder}/queues.conf" }}\n'
        )
        return ["java", "-Xmx256m", f"-Dconfig.file={config}", "-cp", f"{jars('elasticmq')}/*", "org.elasticmq.server.Main"]

    def queue(self, name: str, *, receives: int = 7) -> tuple[str, str]:
        """Create a queue and its dead-letter queue as the AWS template does; returns both URLs."""
        client = aws("sqs", self.url)
        dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        policy = f'{{"deadLetterTargetArn": "arn:aws:sqs:{REGION}:000000000000:{name}-dead", "maxReceiveCount": {receives}}}'
        return client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"], dead


def aws(service: str, url: str):
    """Make a client of a local server."""
    import boto3

    return boto3.client(service, endpoint_url=url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local")


def environment(dynamodb: JavaServer, sqs: JavaServer) -> dict[str, str]:
    """Environment variables with which a process finds both."""
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_SQS": sqs.url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def set_environment(monkeypatch, dynamodb: JavaServer, sqs: JavaServer) -> None:
    """Set these variables for this process."""
    for name, value in environment(dynamodb, sqs).items():
        monkeypatch.setitem(os.environ, name, value)
