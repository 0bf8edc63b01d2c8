"""The errors that AWS answers."""

from __future__ import annotations

from compliance.json_data import JSON

STATUS = {
    "AccessDenied": 403,
    "ConditionalRequestConflict": 409,
    "OperationAborted": 409,
    "ECONNRESET": 0,
    "NoAnswer": 0,
    "Forbidden": 403,
    "InternalServerErrorException": 500,
    "InternalFailure": 500,
    "LimitExceededException": 400,
    "NotModified": 304,
    "InvalidRange": 416,
    "NoSuchUpload": 404,
    "ServiceException": 500,
    "InternalError": 500,
    "InternalServerError": 500,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NotFound": 404,
    "PreconditionFailed": 412,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "KMSAccessDeniedException": 403,
}
THROTTLING = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
MESSAGES = {
    "AccessDenied": "Access Denied",
    "AccessDeniedException": "User: arn:aws:sts::123456789012:assumed-role/sandbox is not authorized "
    "to perform: {action}",
    "ConditionalCheckFailedException": "The conditional request failed",
    "NoAnswer": "AWS does not answer",
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchKey": "The specified key does not exist.",
    "NotFound": "Not Found",
    "ECONNRESET": "read ECONNRESET",
    "PreconditionFailed": "At least one of the pre-conditions you specified did not hold",
    "ResourceNotFoundException": "Requested resource not found",
    "SlowDown": "Please reduce your request rate.",
    "ThrottlingException": "Rate exceeded",
    "TimeoutError": "Connection timed out after 3000 ms",
}


class NotStoodIn(Exception):
    """The stand-in has no answer. For a supported operation, the text says what is not supported."""


class Refusal(Exception):
    """An error as an answer: its code, its text, its HTTP status (0 if the SDK itself refuses)."""

    def __init__(self, code: str, message: str, status: int, **extra: JSON) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.extra = extra

    def as_message(self) -> dict[str, JSON]:
        return {
            "shape": self.code,
            "code": self.code,
            "message": str(self),
            "status": self.status,
            "throttling": self.code in THROTTLING,
            **self.extra,
        }


def refusal_of(error: str, service: str, operation: str) -> Refusal:
    message = MESSAGES.get(error, error).format(action=f"{service}:{operation}")
    return Refusal(error, message, STATUS.get(error, 400))
