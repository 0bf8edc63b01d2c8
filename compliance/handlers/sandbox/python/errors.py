"""The errors of botocore, and those that a service model names."""

from . import Any


class BotoCoreError(Exception):
    fmt = "An unspecified error occurred"

    def __init__(self, **kwargs) -> None:
        try:
            message = self.fmt.format(**kwargs)
        except (KeyError, IndexError):
            message = str(kwargs)
        super().__init__(message)
        self.kwargs = kwargs


class ClientError(Exception):
    def __init__(self, error_response, operation_name) -> None:
        error = error_response.get("Error", {})
        super().__init__(
            f"An error occurred ({error.get('Code', 'Unknown')}) when calling the {operation_name} "
            f"operation: {error.get('Message', 'Unknown')}"
        )
        self.response = error_response
        self.operation_name = operation_name


class HTTPClientError(BotoCoreError):
    fmt = "An HTTP Client raised an unhandled exception: {error}"
    request = response = None


class ConnectionError(BotoCoreError):
    fmt = "An HTTP Client failed to establish a connection: {error}"


class EndpointConnectionError(ConnectionError):
    fmt = 'Could not connect to the endpoint URL: "{endpoint_url}"'


class ConnectTimeoutError(ConnectionError, OSError):
    fmt = 'Connect timeout on endpoint URL: "{endpoint_url}"'


class ConnectionClosedError(HTTPClientError):
    fmt = 'Connection was closed before we received a valid response from endpoint URL: "{endpoint_url}".'


class OperationNotPageableError(BotoCoreError):
    fmt = "Operation cannot be paginated: {operation_name}"


class ReadTimeoutError(HTTPClientError, OSError):
    fmt = 'Read timeout on endpoint URL: "{endpoint_url}"'


class ParamValidationError(BotoCoreError):
    fmt = "Parameter validation failed:\n{report}"


_coded: dict[str, Any] = {}


def coded(code):
    """One class per error code, the same for every client, so `except client.exceptions.X` works."""
    if code not in _coded:
        _coded[code] = type(code, (ClientError,), {})
    return _coded[code]


def to_error(refusal, operation):
    code, message, status = refusal["code"], refusal["message"], refusal["status"]
    if code == "ParamValidation":
        return ParamValidationError(report=message)
    if code == "ECONNRESET":
        return ConnectionClosedError(endpoint_url="https://amazonaws.com/")
    if code in ("TimeoutError", "NoAnswer"):
        return ReadTimeoutError(endpoint_url="https://amazonaws.com/", error=message)
    shape = coded(code)
    if status == 404 and code == "NotFound":
        code = "404"
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "00000000-0000-4000-8000-000000000000"},
    }
    if "reasons" in refusal:
        response["CancellationReasons"] = refusal["reasons"]
    return shape(response, operation)
