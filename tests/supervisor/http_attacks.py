"""Requests that MLflow and the app refuse, each of a kind of its own."""

from dataclasses import replace

from http_asking import Ask, handshake
from mlflow_login import LOGIN

TOKEN = "a-token-that-people-have-in-their-link"
EVIL = "evil.example"
API, AJAX = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def basic(user: str, password: str) -> dict[str, str]:
    return dict(replace(LOGIN, user=user, password=password).header)


CREATE = '{"name": "theirs", "artifact_location": "file://<ELSEWHERE>"}'
FORGED = "headbook-{}-<{}_PORT>=9999999999." + "0" * 64
STRANGERS_AT_MLFLOW = {
    "a page": Ask(),
    "a file of a run": Ask(target="/get-artifact?path=own.txt&run_uuid=<RUN>"),
    "a file of the store": Ask(target=FILES + "/1/<RUN>/artifacts/own.txt"),
    "a new experiment": Ask(target=f"{API}/experiments/create", method="POST", body=CREATE),
    "a search by the pages' own path": Ask(
        target=f"{AJAX}/runs/search", method="POST", body='{"experiment_ids": ["0"]}'
    ),
    "a query of the pages": Ask(target="/graphql", method="POST", body='{"query": "{__typename}"}'),
    "an upload": Ask(target=FILES + "/1/x.txt", method="PUT", body="x"),
    "a deletion": Ask(target=FILES + "/1/<RUN>/artifacts/own.txt", method="DELETE"),
    "an upload by the pages' own path": Ask(
        target=f"{AJAX}/upload-artifact?run_uuid=<RUN>&path=x", method="POST", body="x"
    ),
    "a wrong password": Ask(headers=basic("headbook", "guess")),
    "another name with the right password": Ask(headers=basic("admin", LOGIN.password)),
    "a login that is no base64": Ask(headers={"Authorization": "Basic \xff\xfe"}),
    "the password by another scheme": Ask(headers={"Authorization": f"Bearer {LOGIN.password}"}),
    "a wrong token": Ask(target="/?token=" + "0" * 40),
    "an empty token": Ask(target="/?token="),
    "the token with what is sent": Ask(
        target=f"{API}/runs/search?token={TOKEN}", method="POST", body='{"experiment_ids": ["0"]}'
    ),
    "the token as a cookie": Ask(headers={"Cookie": f"headbook-mlflow-<MLFLOW_PORT>={TOKEN}"}),
    "a forged cookie": Ask(headers={"Cookie": FORGED.format("mlflow", "MLFLOW")}),
    "a name that a proxy would add": Ask(
        headers={"X-Forwarded-User": "root", "Remote-User": "root"}
    ),
    "a place that a proxy would add": Ask(headers={"X-Forwarded-For": "127.0.0.1"}),
    "no name of the server, as in HTTP/1.0": Ask(headers={"Host": None}, version="1.0"),
    "two names of the server": Ask(again=(("Host", EVIL),)),
    "a whole address": Ask(target="http://127.0.0.1:<MLFLOW_PORT>/version"),
    "two slashes": Ask(target=f"/{API}/experiments/search?max_results=1"),
    "an encoded path": Ask(target="/%61pi/2.0/mlflow/experiments/search?max_results=1"),
    "a path behind the open one": Ask(target=f"/health/..{API}/experiments/search?max_results=1"),
    "another method at the open one": Ask(target="/health", method="POST", body="x"),
    "a method in a header": Ask(
        target=f"{API}/runs/search", headers={"X-HTTP-Method-Override": "POST"}
    ),
    "what a method may do": Ask(target=f"{API}/runs/search", method="OPTIONS"),
    "a script of the pages": Ask(target="/static-files/index.html"),
}
STRANGERS_AT_APP = {
    "a page": Ask(),
    "a page of a run": Ask(target="/run?id=1"),
    "the stream of the pages": handshake("/_stcore/stream"),
    "the stream with a forged cookie": handshake(
        "/_stcore/stream", Cookie=FORGED.format("app", "APP")
    ),
    "the stream with the token": handshake(f"/_stcore/stream?token={TOKEN}"),
    "its settings": Ask(target="/_stcore/host-config"),
    "an upload": Ask(target="/_stcore/upload_file/a/b", method="PUT", body="x"),
    "a picture": Ask(target="/media/0.png"),
    "the program's door": Ask(
        target="/_stcore/agent/interact", method="POST", body='{"interactions": []}'
    ),
    "the program's description": Ask(target="/_stcore/agent/openapi.json"),
    "the tools of language models": Ask(target="/_stcore/agent/mcp", method="POST", body="{}"),
    "a component": Ask(target="/component/a/index.html"),
    "figures of the process": Ask(target="/_stcore/metrics"),
    "a script of the pages": Ask(target="/static/index.html"),
    "the way on to MLflow": Ask(target="/mlflow/"),
    "a path behind the open one": Ask(target="/_stcore/health/../host-config"),
    "the login of programs": Ask(headers=LOGIN.header),
}


# What a page of somebody else may ask with the cookie of who visits it: browsers send it along.
LIST = f"{AJAX}/experiments/search?max_results=9"
BY_OTHER_PAGES = {
    "under a name of theirs": ("mlflow", Ask(headers={"Host": EVIL})),
    "under a name of theirs with the port": (
        "mlflow",
        Ask(target=LIST, headers={"Host": f"{EVIL}:<MLFLOW_PORT>"}),
    ),
    "under a name like ours": ("mlflow", Ask(headers={"Host": f"127.0.0.1.{EVIL}"})),
    "under the app's name": ("app", Ask(headers={"Host": EVIL})),
    "with a login in the name": ("app", Ask(headers={"Host": f"localhost@{EVIL}"})),
    "by the stream under another name": ("app", handshake("/_stcore/stream", Host=EVIL)),
    "from another site": ("mlflow", Ask(target=LIST, headers={"Origin": f"https://{EVIL}"})),
    "from another port, to read": (
        "mlflow",
        Ask(target=LIST, headers={"Origin": "http://127.0.0.1:1"}),
    ),
    "from another port, to write": (
        "mlflow",
        Ask(
            target=f"{AJAX}/experiments/create",
            method="POST",
            headers={"Origin": "http://localhost:1"},
            body='{"name": "from another port"}',
        ),
    ),
    "from a file": ("mlflow", Ask(target=LIST, headers={"Origin": "null"})),
    "by the stream from another port": (
        "app",
        handshake("/_stcore/stream", Origin="http://localhost:1"),
    ),
    "by the stream from another site": (
        "app",
        handshake("/_stcore/stream", Origin=f"https://{EVIL}"),
    ),
    "by an upload from another port": (
        "app",
        Ask(
            target="/_stcore/upload_file/a/b",
            method="DELETE",
            headers={"Origin": "http://127.0.0.1:1"},
        ),
    ),
}


# What somebody may try who is let in, such as an analysis with the login of workers.
SIGNED_IN = {
    f"an experiment elsewhere: {body}": Ask(target=path, method="POST", body=body)
    for path, body in (
        (f"{API}/experiments/create", CREATE),
        (f"{AJAX}/experiments/create", '{"name": "b", "artifactLocation": "file://<ELSEWHERE>"}'),
        (f"{API}/experiments/create", '{"name": "c", "artifact_location": "<ELSEWHERE>"}'),
        (f"{API}/experiments/create", '{"name": "d", "artifact_location": "s3://theirs/"}'),
        (
            f"{API}/experiments/create",
            '{"name": "e", "artifact_location": "mlflow-artifacts:/.."}',
        ),
        (
            f"{API}/experiments/create",
            f'{{"name": "f", "artifact_location": "mlflow-artifacts://{EVIL}/"}}',
        ),
    )
} | {
    "a planted run's file": Ask(target="/get-artifact?path=secrets.json&run_uuid=<PLANTED>"),
    "a planted run's folder": Ask(target=f"{API}/artifacts/list?run_id=<PLANTED>"),
    "an upload to a planted run": Ask(
        target=f"{AJAX}/upload-artifact?run_uuid=<PLANTED>&path=new.txt", method="POST", body="x"
    ),
    "a file outside": Ask(target=FILES + "/../mlflow.db"),
    "a file outside, encoded": Ask(target=FILES + "/%2e%2e/mlflow.db"),
    "a file outside, encoded twice": Ask(target=FILES + "/%252e%252e/mlflow.db"),
    "a file by its whole path": Ask(target=FILES + "/<ELSEWHERE>/secrets.json"),
    "a file by its address": Ask(target=FILES + "/file:<ELSEWHERE>/secrets.json"),
    "a folder outside": Ask(target=FILES + "?path=../"),
    "an upload outside": Ask(target=FILES + "/%2e%2e/new.txt", method="PUT", body="x"),
    "a link": Ask(target="/get-artifact?path=link.txt&run_uuid=<RUN>"),
    "a link in the store": Ask(target=FILES + "/1/<RUN>/artifacts/link.txt"),
    "a file behind a link": Ask(target=FILES + "/1/<RUN>/artifacts/folder/secrets.json"),
    "an upload behind a link": Ask(
        target=FILES + "/1/<RUN>/artifacts/folder/new.txt", method="PUT", body="x"
    ),
    "a deletion behind a link": Ask(
        target=FILES + "/1/<RUN>/artifacts/folder/secrets.json", method="DELETE"
    ),
    "a version of a model with files elsewhere": Ask(
        target=f"{API}/model-versions/create",
        method="POST",
        body='{"name": "m", "source": "file://<ELSEWHERE>"}',
    ),
    "a file of a version": Ask(target="/model-versions/get-artifact?path=a&name=m&version=1"),
    "a model with files elsewhere": Ask(
        target=f"{API}/logged-models", method="POST", body='{"experiment_id": "0"}'
    ),
    "a call to a server that they name": Ask(
        target=f"{API}/webhooks",
        method="POST",
        body=f'{{"name": "w", "url": "https://{EVIL}/", "events": [{{"entity": "REGISTERED_MODEL",'
        ' "action": "CREATED"}]}',
    ),
    "a call through a gateway": Ask(
        target=f"{AJAX}/gateway-proxy", method="POST", body=f'{{"gateway_path": "//{EVIL}"}}'
    ),
    "a program that MLflow runs": Ask(
        target="/ajax-api/3.0/mlflow/assistant/message", method="POST", body='{"message": "id"}'
    ),
    "a run of a prompt": Ask(target=f"{AJAX}/runs/create-promptlab-run", method="POST", body="{}"),
    "a file of a trace": Ask(target="/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-1"),
    "keys of others": Ask(target="/ajax-api/3.0/mlflow/gateway/secrets/list"),
    "traces by another protocol": Ask(target="/v1/traces", method="POST", body="{}"),
    "a job": Ask(target="/ajax-api/3.0/jobs/", method="POST", body="{}"),
}
LISTED = (
    '{"operationName": "A", "query": "query A($d: MlflowListArtifactsInput!)'
    ' {mlflowListArtifacts(input: $d) {files {path}}}", "variables": {"d": {"runId": "<OF>"}}}'
)
