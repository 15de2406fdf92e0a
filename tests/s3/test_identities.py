"""Who may do what: users with policies, and roles that are taken on."""

import dataclasses
import json
import pathlib

import boto3
import pytest
from s3.conftest import BUCKET, Store
from support.launch import run

READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    }],
}


def service(store: Store, name: str):
    """Another of the server's services, by its owner."""
    return boto3.client(
        name, endpoint_url=store.endpoint, aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key, region_name="us-east-1",
    )


@pytest.fixture(scope="module")
def reader(guarded: Store) -> Store:
    """The same server, for a user who may only read."""
    guarded.client.put_object(Bucket=BUCKET, Key="film", Body=b"frames")
    iam = service(guarded, "iam")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(READ_ONLY))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    return dataclasses.replace(guarded, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])


def test_what_is_allowed_works_and_what_is_not_is_said(reader: Store, guarded: Store, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    run(f"gst-launch-1.0 -q s3src uri=s3://{BUCKET}/film {reader.way} ! filesink location={out}",
        env=reader.env).succeeded()
    assert out.read_bytes() == b"frames"
    said = run(
        f"gst-launch-1.0 -q fakesrc num-buffers=1 sizetype=fixed sizemax=9 ! s3sink uri=s3://{BUCKET}/mine {reader.way}",
        env=reader.env,
    ).failed().output
    assert "AccessDenied" in said and "403" in said and f"{BUCKET}/mine" in said, said
    assert reader.secret_key not in said
    assert "mine" not in [o["Key"] for o in guarded.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_a_role_is_taken_on_by_a_profile(reader: Store, guarded: Store, tmp_path: pathlib.Path) -> None:
    iam = service(guarded, "iam")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="library", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="library", PolicyName="read", PolicyDocument=json.dumps(READ_ONLY))
    config = tmp_path / "config"
    config.write_text(
        f"[profile owner]\naws_access_key_id = {guarded.access_key}\naws_secret_access_key = {guarded.secret_key}\n"
        f"[profile library]\nrole_arn = {role}\nsource_profile = owner\nregion = us-east-1\n"
    )
    env = {k: v for k, v in guarded.env.items() if not k.startswith(("AWS_ACCESS", "AWS_SECRET"))} | {
        "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_PROFILE": "library",
        "AWS_ENDPOINT_URL_STS": guarded.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
    }
    out = tmp_path / "out"
    run(f"gst-launch-1.0 -q s3src uri=s3://{BUCKET}/film {guarded.way} ! filesink location={out}", env=env).succeeded()
    assert out.read_bytes() == b"frames"
    said = run(
        f"gst-launch-1.0 -q fakesrc num-buffers=1 sizetype=fixed sizemax=9 ! s3sink uri=s3://{BUCKET}/mine {guarded.way}",
        env=env,
    ).failed().output
    assert "AccessDenied" in said, said
