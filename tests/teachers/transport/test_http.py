import pytest

from pgkd.exceptions import TeacherError
from pgkd.records import GenerationRequest
from pgkd.teachers import OpenAITeacher
from pgkd.testing import FaultServer


class CountingServer(FaultServer):
    n_connections = 0

    async def _serve(self, reader, writer):
        self.n_connections += 1
        await super()._serve(reader, writer)


def test_connections_are_kept_and_no_more_than_requests_under_way():
    requests = [GenerationRequest(f"1-{n}", {"ham": 1}) for n in range(30)]
    with CountingServer(latency=0.01) as server:
        teacher = OpenAITeacher("any", base_url=server.base_url, max_concurrency=3)
        assert len(list(teacher.generate(requests))) == 30
    assert server.n_requests == 30
    assert server.n_connections == 3


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(tmp_path, monkeypatch, content):
    path = tmp_path / "certificates.pem"
    if content:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    teacher = OpenAITeacher("m", base_url="https://127.0.0.1:1/v1", price=(1, 1))
    with pytest.raises(TeacherError, match=r"SSL_CERT_FILE=.*certificates\.pem.*unset"):
        teacher.check_ready()
