"""S3's objects in one account. Every bucket exists.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import msgspec

from compliance.handlers.sandbox.refusal import NotStoodIn, Refusal, refusal_of
from compliance.json_data import JSON, array, as_mapping, mapping, mappings, whole

Request = dict[str, JSON]
Answer = dict[str, JSON]
LONGEST_KEY = 1024
SMALLEST_PART = 5 * 1024 * 1024
KEPT = (
    "ContentType",
    "CacheControl",
    "ContentEncoding",
    "ContentDisposition",
    "StorageClass",
    "ServerSideEncryption",
)


class Object(msgspec.Struct):
    body: bytes
    at: float
    headers: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    metadata: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    tags: list[JSON] = []

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class Buckets:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.page: int | None = None
        self.now = 0.0
        self._uploads: dict[str, tuple[tuple[str, str], Request, dict[int, bytes]]] = {}

    def replace(self, given: Mapping[str, Mapping[str, str]], page: int | None) -> None:
        self.page, self._uploads = page, {}
        self.objects = {
            (bucket, key): Object(as_bytes(body), self.now)
            for bucket, bodies in given.items()
            for key, body in bodies.items()
        }

    def state(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for (bucket, key), one in self.objects.items():
            found.setdefault(bucket, {})[key] = as_text(one.body)
        return found

    def answer(self, operation: str, request: Request) -> Answer:
        answers: dict[str, Callable[[Request], Answer]] = {
            "PutObject": self._put,
            "GetObject": self._get,
            "HeadObject": self._head,
            "DeleteObject": self._delete,
            "DeleteObjects": self._delete_many,
            "CopyObject": self._copy,
            "ListObjects": self._list,
            "ListObjectsV2": self._list_2,
            "HeadBucket": lambda _: {"BucketRegion": "us-east-1"},
            "CreateMultipartUpload": self._begin,
            "UploadPart": self._part,
            "CompleteMultipartUpload": self._complete,
            "AbortMultipartUpload": self._abort,
            "GetObjectTagging": lambda r: {"TagSet": self._one(r).tags},
            "PutObjectTagging": self._tag,
        }
        if operation not in answers:
            raise NotStoodIn
        if len(str(request.get("Key", "")).encode()) > LONGEST_KEY:
            raise Refusal("KeyTooLongError", "Your key is too long", 400)
        if "VersionId" in request:
            raise NotStoodIn("of a version")
        return answers[operation](request)

    def _one(self, request: Request, missing: str = "NoSuchKey") -> Object:
        found = self.objects.get(_place(request))
        if found is None:
            raise refusal_of(missing, "s3", "GetObject")
        return found

    def _put(self, request: Request) -> Answer:
        old = self.objects.get(_place(request))
        wanted = str(request.get("IfMatch") or "").strip('"')
        if (request.get("IfNoneMatch") == "*" and old) or (wanted and old and wanted != old.etag.strip('"')):
            raise refusal_of("PreconditionFailed", "s3", "PutObject")
        if wanted and not old:
            raise refusal_of("NoSuchKey", "s3", "PutObject")
        return self._keep(request, as_bytes(request.get("Body") or ""))

    def _keep(self, request: Request, body: bytes) -> Answer:
        pairs = [tag.partition("=") for tag in str(request.get("Tagging") or "").split("&") if tag]
        tags: list[JSON] = [{"Key": key, "Value": value} for key, _, value in pairs]
        headers = {name: request[name] for name in KEPT if name in request}
        one = Object(body, self.now, headers, as_mapping(request.get("Metadata")), tags)
        self.objects[_place(request)] = one
        encryption = request.get("ServerSideEncryption", "AES256")
        return {"ETag": one.etag, "ServerSideEncryption": encryption}

    def _described(self, one: Object) -> Answer:
        usual: Answer = {
            "ContentType": "binary/octet-stream",
            "AcceptRanges": "bytes",
            "ServerSideEncryption": "AES256",
        }
        metadata: Answer = {str(k).lower(): v for k, v in one.metadata.items()}
        return {
            **usual,
            **one.headers,
            "LastModified": {"$t": int(one.at)},
            "ContentLength": len(one.body),
            "ETag": one.etag,
            "Metadata": metadata,
        }

    def _get(self, request: Request) -> Answer:
        one = self._one(request)
        self._check_match(request, one)
        described = self._described(one)
        start, end = self._range(request, one)
        if (start, end) != (0, len(one.body)):
            described["ContentRange"] = f"bytes {start}-{end - 1}/{len(one.body)}"
            described["ContentLength"] = end - start
        return {**described, "Body": wire(one.body[start:end])}

    def _check_match(self, request: Request, one: Object) -> None:
        wanted, unwanted = (str(request.get(name, "")).strip('"') for name in ("IfMatch", "IfNoneMatch"))
        if wanted and wanted != one.etag.strip('"'):
            raise refusal_of("PreconditionFailed", "s3", "GetObject")
        if unwanted and unwanted == one.etag.strip('"'):
            raise refusal_of("NotModified", "s3", "GetObject")

    def _range(self, request: Request, one: Object) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", str(request.get("Range", "")))
        if not match or match[0] == "bytes=-":
            return 0, len(one.body)
        if not match[1]:
            return max(0, len(one.body) - int(match[2])), len(one.body)
        if int(match[1]) >= len(one.body):
            raise refusal_of("InvalidRange", "s3", "GetObject")
        return int(match[1]), min(int(match[2] or len(one.body)) + 1, len(one.body))

    def _head(self, request: Request) -> Answer:
        one = self._one(request, "NotFound")
        self._check_match(request, one)
        return self._described(one)

    def _delete(self, request: Request) -> Answer:
        self.objects.pop(_place(request), None)
        return {}

    def _delete_many(self, request: Request) -> Answer:
        delete = mapping(request["Delete"])
        keys = [str(one["Key"]) for one in mappings(delete["Objects"])]
        for key in keys:
            self.objects.pop((str(request["Bucket"]), key), None)
        return {} if delete.get("Quiet") else {"Deleted": [{"Key": key} for key in keys]}

    def _copy(self, request: Request) -> Answer:
        source = request["CopySource"]
        if isinstance(source, dict):
            source = f"{source['Bucket']}/{source['Key']}"
        bucket, _, key = unquote(str(source)).partition("?")[0].lstrip("/").partition("/")
        one = self._one({"Bucket": bucket, "Key": key})
        replaced = request.get("MetadataDirective") == "REPLACE"
        kept = request if replaced else {**one.headers, "Metadata": {**one.metadata}}
        self._keep({**kept, "Bucket": request["Bucket"], "Key": request["Key"]}, one.body)
        return {"CopyObjectResult": {"ETag": one.etag, "LastModified": {"$t": int(self.now)}}}

    def _list(self, request: Request) -> Answer:
        return self._listed(request, str(request.get("Marker") or ""), "NextMarker")

    def _list_2(self, request: Request) -> Answer:
        after = request.get("ContinuationToken") or request.get("StartAfter") or ""
        answer = self._listed(request, str(after), "NextContinuationToken")
        listed = (array(answer.get(part, [])) for part in ("Contents", "CommonPrefixes"))
        return {**answer, "KeyCount": sum(map(len, listed))}

    def _listed(self, request: Request, after: str, token: str) -> Answer:
        prefix, delimiter = str(request.get("Prefix") or ""), str(request.get("Delimiter") or "")
        most = min(whole(request.get("MaxKeys", 1000)), 1000, self.page or 1000)
        keys = sorted(k for b, k in self.objects if b == request["Bucket"] and k.startswith(prefix))
        entries: dict[str, bool] = {}
        for key in keys:
            rest = key[len(prefix) :]
            folded = bool(delimiter) and delimiter in rest
            entries.setdefault(prefix + rest.partition(delimiter)[0] + delimiter if folded else key, folded)
        left = [(name, folded) for name, folded in entries.items() if name > after]
        page = left[:most]
        bucket = str(request["Bucket"])
        contents: list[JSON] = [self._entry(bucket, name) for name, folded in page if not folded]
        prefixes: list[JSON] = [{"Prefix": name} for name, folded in page if folded]
        answer: Answer = {
            "Name": bucket,
            "Prefix": prefix,
            "MaxKeys": most,
            "IsTruncated": len(left) > most,
        }
        answer |= {"Contents": contents} if contents else {}
        answer |= {"CommonPrefixes": prefixes} if prefixes else {}
        return answer | ({token: page[-1][0]} if len(left) > most and page else {})

    def _entry(self, bucket: str, key: str) -> JSON:
        one = self.objects[bucket, key]
        storage = one.headers.get("StorageClass", "STANDARD")
        return {
            "Key": key,
            "Size": len(one.body),
            "ETag": one.etag,
            "LastModified": {"$t": int(one.at)},
            "StorageClass": storage,
        }

    def _begin(self, request: Request) -> Answer:
        upload = f"upload-{len(self._uploads) + 1}"
        self._uploads[upload] = (_place(request), request, {})
        return {"Bucket": request["Bucket"], "Key": request["Key"], "UploadId": upload}

    def _upload(self, request: Request) -> tuple[tuple[str, str], Request, dict[int, bytes]]:
        found = self._uploads.get(str(request.get("UploadId")))
        if found is None or found[0] != _place(request):
            raise Refusal("NoSuchUpload", "The specified multipart upload does not exist.", 404)
        return found

    def _part(self, request: Request) -> Answer:
        body = as_bytes(request.get("Body") or "")
        self._upload(request)[2][whole(request["PartNumber"])] = body
        return {"ETag": Object(body, 0).etag}

    def _complete(self, request: Request) -> Answer:
        _, first, parts = self._upload(request)
        asked = mappings(mapping(request.get("MultipartUpload") or {}).get("Parts", []))
        wanted = [whole(part.get("PartNumber")) for part in asked]
        if not wanted or any(number not in parts for number in wanted):
            raise Refusal("InvalidPart", "One or more of the specified parts could not be found.", 400)
        if wanted != sorted(wanted):
            raise Refusal("InvalidPartOrder", "The list of parts was not in ascending order.", 400)
        if any(len(parts[number]) < SMALLEST_PART for number in wanted[:-1]):
            raise Refusal(
                "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400
            )
        answer = self._keep(first, b"".join(parts[number] for number in wanted))
        del self._uploads[str(request["UploadId"])]
        return {**answer, "Bucket": request["Bucket"], "Key": request["Key"]}

    def _abort(self, request: Request) -> Answer:
        self._upload(request)
        del self._uploads[str(request["UploadId"])]
        return {}

    def _tag(self, request: Request) -> Answer:
        self._one(request).tags = array(mapping(request["Tagging"])["TagSet"])
        return {}


def _place(request: Request) -> tuple[str, str]:
    return str(request["Bucket"]), str(request["Key"])


def as_bytes(value: JSON) -> bytes:
    if isinstance(value, dict) and isinstance(coded := value.get("$b"), str):
        try:
            return base64.b64decode(coded)
        except binascii.Error:
            return b""
    return str(value).encode()


def wire(value: bytes) -> JSON:
    return {"$b": base64.b64encode(value).decode()}


def as_text(raw: bytes) -> str:
    """Bytes for people and rules: as text where they are UTF-8, else in base64."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode()
