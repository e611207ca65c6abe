"""What a build is told of this machine's package index."""

from package_index import settings


def test_uv_gets_what_the_environment_says() -> None:
    environment = {"UV_DEFAULT_INDEX": "https://packages.example/simple", "UV_LINK_MODE": "copy", "HOME": "/root"}
    assert settings(environment, [], certificates=False) == ["export UV_DEFAULT_INDEX=https://packages.example/simple"]


def test_pip_gets_its_settings_and_the_environment_wins() -> None:
    listed = [
        ":env:.index-url='https://first.example/simple'",
        "global.index-url='https://second.example/simple'",
        "global.cert='/etc/certificates'",
        "install.trusted-host='a.example b.example'",
    ]
    assert settings({}, listed, certificates=False) == [
        "export PIP_INDEX_URL=https://first.example/simple",
        "export PIP_TRUSTED_HOST='a.example b.example'",
    ]


def test_certificates_are_where_the_build_mounts_them() -> None:
    assert settings({"SSL_CERT_FILE": "/etc/bundle.pem"}, [], certificates=True) == [
        "export PIP_CERT=/run/secrets/ca-certificates",
        "export SSL_CERT_FILE=/run/secrets/ca-certificates",
    ]
