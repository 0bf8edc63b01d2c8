"""What a stack would deploy and the input does not show. It is a problem, so the gate is red.

`TABLE` is the one list of it, a row for a resource type and property. What a property names is seen where the
assembly itself holds it (an asset that the CLI uploads to that very place). Else it is a problem, unless the
requirements document allows the place (`allowed_elsewhere`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from compliance.template.assembly import object_place
from compliance.template.intrinsics import NO_VALUE, Ref, Unknown, Value, show
from compliance.template.paths import values

if TYPE_CHECKING:
    from compliance.template.assembly import Assembly, Resource

# What CloudFormation calls an object of S3: the names of its bucket and its key, by property.
_PAIRS = (
    ("S3Bucket", "S3Key"),
    ("Bucket", "Key"),
    ("BucketName", "ObjectKey"),
    ("BucketName", "Key"),
    ("BucketARN", "FileKey"),
    ("SourceArtifactsBucket", "SourceArtifactsObjectKey"),
)
_VERSIONS = ("S3ObjectVersion", "Version", "ObjectVersion")


class Unseen(msgspec.Struct, frozen=True):
    """Something that is deployed and was not looked at.

    `property` is None where it is the resource as a whole. `place` says where it comes from, as a document
    has to write it to allow it; None where that is not known, and `shown` what is. `excused` marks what the
    kind of input cannot show: the code of a bare template.
    """

    stack: str
    logical_id: str
    property: str | None
    what: str
    place: str | None
    shown: str
    excused: bool = False

    def __str__(self) -> str:
        at = ".".join(filter(None, (f"{self.stack}/{self.logical_id}", self.property)))
        if self.place is None:
            return f"{at}: {self.what} that is not known: {self.shown}; write it out, or give it a value"
        origin = "" if at.startswith(self.place) else f" ({self.place})"
        return (
            f"{at}: {self.what}{origin}, which nobody looked at; make it a part of the app, "
            f"or allow {self.place!r} in the requirements document (allowed_elsewhere)"
        )


class Row(msgspec.Struct, frozen=True):
    """Where a resource type names what is deployed. `read` says how the value there names it.

    Without a `path` every resource of the type counts. A property that nothing may stand in for the
    template itself (`code` false) holds resources, which an input without assets hides too.
    """

    type: str
    path: str | None
    what: str
    read: Callable[[Resource, Value], Named] | None = None
    code: bool = True


# What a value names: its place, Unknown where that is not written out, None where the assembly holds it

Named = str | Unknown | None


def _object(resource: Resource, value: Value) -> Named:
    """An object of S3, as a mapping of bucket and key or as a URL. Code that stands there itself is seen."""
    assembly, version = resource.stack.assembly, False
    if isinstance(value, dict):
        pair = next((pair for pair in _PAIRS if pair[1] in value), None)
        if pair is None:
            return None
        version = any(name in value for name in _VERSIONS)
        bucket, key = (assembly.text(value.get(name, NO_VALUE)) for name in pair)
        place = f"{_bucket(bucket)}/{key}" if bucket is not None and key is not None else None
    else:
        text = assembly.text(value)
        place = object_place(text) or text
    if place is None:
        return Unknown(show(value))
    return None if place in resource.stack.held and not version else place


def _template(resource: Resource, value: Value) -> Named:
    """A nested template: seen where it was read."""
    name = resource.stack.name, resource.logical_id
    return None if name in resource.stack.assembly.nested else _object(resource, value)


def _bucket(text: str) -> str:
    return text.rpartition(":::")[2]  # an ARN's bucket


def _image(resource: Resource, value: Value) -> Named:
    """A container image; one that the assembly builds lies in the stack's own registry."""
    text = resource.stack.assembly.text(value)
    return Unknown(show(value)) if text is None else None if text in resource.stack.held else text


def _layer(resource: Resource, value: Value) -> Named:
    """A layer by its ARN; one that the assembly makes is judged where it is made."""
    assembly = resource.stack.assembly
    made = assembly.resource(value) if isinstance(value, Ref) else None
    if made is not None and made.type == "AWS::Lambda::LayerVersion":
        return None
    return assembly.text(value) or Unknown(show(value))


def _list(resource: Resource, value: Value) -> Named:
    """The first of several places, written with commas between them, that the assembly does not hold."""
    text = resource.stack.assembly.text(value)
    if text is None:
        return Unknown(show(value))
    named = (_object(resource, part.strip()) for part in text.split(","))
    return next((place for place in named if place is not None), None)


_CODE, _SCRIPT, _DEFINITION = "code from elsewhere", "a script from elsewhere", "a definition from elsewhere"
_IMAGE, _LAYER = "a container image from elsewhere", "a layer from elsewhere"
_NESTED, _PRODUCT = "a nested stack whose template is not here", "a product's template"
_STACK_SET = "a stack set, whose template makes resources elsewhere"
_MACRO = "a macro, which rewrites other templates"
_MODULE = "a module, which makes resources of its own when it is deployed"

# The type, the property (None: the resource itself), what it is, how a value there is read, and whether it is
# code, which a bare template never shows.
TABLE: tuple[Row, ...] = tuple(
    Row(*row)
    for row in (
        # resources that a template elsewhere holds
        ("AWS::CloudFormation::Stack", "TemplateURL", _NESTED, _template, False),
        ("AWS::CloudFormation::StackSet", None, _STACK_SET, None, False),
        ("AWS::CloudFormation::Macro", None, _MACRO, None, False),
        ("*::MODULE", None, _MODULE, None, False),
        ("AWS::ServiceCatalog::CloudFormationProvisionedProduct", None, _PRODUCT, None, False),
        (
            "AWS::ServiceCatalog::CloudFormationProduct",
            "ProvisioningArtifactParameters.*.Info.LoadTemplateFromURL",
            _PRODUCT,
            _object,
            False,
        ),
        # code
        ("AWS::Lambda::Function", "Code", _CODE, _object),
        ("AWS::Lambda::Function", "Code.ImageUri", _IMAGE, _image),
        ("AWS::Lambda::Function", "Layers.*", _LAYER, _layer),
        ("AWS::Lambda::LayerVersion", "Content", _CODE, _object),
        ("AWS::Synthetics::Canary", "Code", _CODE, _object),
        ("AWS::Glue::Job", "Command.ScriptLocation", _SCRIPT, _object),
        ("AWS::Glue::Job", "DefaultArguments.--extra-py-files", _CODE, _list),
        ("AWS::Glue::Job", "DefaultArguments.--extra-jars", _CODE, _list),
        ("AWS::Glue::Job", "DefaultArguments.--extra-files", _CODE, _list),
        (
            "AWS::KinesisAnalyticsV2::Application",
            "ApplicationConfiguration.ApplicationCodeConfiguration.CodeContent.S3ContentLocation",
            _CODE,
            _object,
        ),
        ("AWS::ElasticBeanstalk::ApplicationVersion", "SourceBundle", _CODE, _object),
        ("AWS::GameLift::Script", "StorageLocation", _SCRIPT, _object),
        ("AWS::GameLift::Build", "StorageLocation", _CODE, _object),
        ("AWS::CloudFormation::ModuleVersion", "ModulePackage", _CODE, _object),
        ("AWS::CloudFormation::ResourceVersion", "SchemaHandlerPackage", _CODE, _object),
        ("AWS::CloudFormation::HookVersion", "SchemaHandlerPackage", _CODE, _object),
        ("AWS::KafkaConnect::CustomPlugin", "Location.S3Location", _CODE, _object),
        ("AWS::MWAA::Environment", "DagS3Path", _CODE, None),
        ("AWS::Amplify::App", "Repository", _CODE, None),
        ("AWS::AppRunner::Service", "SourceConfiguration.CodeRepository", _CODE, None),
        # definitions
        ("AWS::StepFunctions::StateMachine", "DefinitionS3Location", _DEFINITION, _object),
        ("AWS::ApiGateway::RestApi", "BodyS3Location", _DEFINITION, _object),
        ("AWS::ApiGatewayV2::Api", "BodyS3Location", _DEFINITION, _object),
        ("AWS::AppSync::GraphQLSchema", "DefinitionS3Location", _DEFINITION, _object),
        ("AWS::AppSync::Resolver", "RequestMappingTemplateS3Location", _DEFINITION, _object),
        ("AWS::AppSync::Resolver", "ResponseMappingTemplateS3Location", _DEFINITION, _object),
        ("AWS::AppSync::Resolver", "CodeS3Location", _CODE, _object),
        ("AWS::AppSync::FunctionConfiguration", "RequestMappingTemplateS3Location", _DEFINITION, _object),
        ("AWS::AppSync::FunctionConfiguration", "ResponseMappingTemplateS3Location", _DEFINITION, _object),
        ("AWS::AppSync::FunctionConfiguration", "CodeS3Location", _CODE, _object),
        ("AWS::SSM::Document", "Attachments.*.Values", _SCRIPT, None),
        # images
        ("AWS::ECS::TaskDefinition", "ContainerDefinitions.*.Image", _IMAGE, _image),
        ("AWS::Batch::JobDefinition", "ContainerProperties.Image", _IMAGE, _image),
        ("AWS::Batch::JobDefinition", "NodeProperties.NodeRangeProperties.*.Container.Image", _IMAGE, _image),
        ("AWS::Batch::JobDefinition", "EcsProperties.TaskProperties.*.Containers.*.Image", _IMAGE, _image),
        ("AWS::Batch::JobDefinition", "EksProperties.PodProperties.Containers.*.Image", _IMAGE, _image),
        ("AWS::AppRunner::Service", "SourceConfiguration.ImageRepository.ImageIdentifier", _IMAGE, _image),
        (
            "AWS::BedrockAgentCore::Runtime",
            "AgentRuntimeArtifact.ContainerConfiguration.ContainerUri",
            _IMAGE,
            _image,
        ),
        ("AWS::SageMaker::Model", "PrimaryContainer.Image", _IMAGE, _image),
        ("AWS::SageMaker::Model", "Containers.*.Image", _IMAGE, _image),
        ("AWS::SageMaker::Model", "PrimaryContainer.ModelDataUrl", _CODE, _object),
        ("AWS::SageMaker::Model", "Containers.*.ModelDataUrl", _CODE, _object),
    )
)


def find(assembly: Assembly, allowed: Iterable[str] = ()) -> Iterator[Unseen]:
    """All that the stacks deploy and the input does not show, in the order of the templates.

    Args:
        assembly: the stacks, nested ones included.
        allowed: the places that the document allows, with `*` for any part.
    """
    patterns = tuple(re.compile(".*".join(map(re.escape, place.split("*")))) for place in allowed)
    for resource in assembly.resources():
        for row in TABLE:
            if fnmatchcase(resource.type, row.type):
                for found in _of_row(resource, row):
                    if not any(pattern.fullmatch(found.place or "") for pattern in patterns):
                        yield found


def _of_row(resource: Resource, row: Row) -> Iterator[Unseen]:
    stack, name = resource.stack, resource.logical_id
    excused = row.code and stack.assembly.kind in ("template", "stack")
    # What names no place that a document could allow is allowed by the resource itself, a module by its type.
    itself = resource.type if row.type.startswith("*") else f"{stack.name}/{name}"
    if row.path is None:
        yield Unseen(stack.name, name, None, row.what, itself, itself, excused)
        return
    for value in values(resource.properties, row.path):
        named: Named = value if isinstance(value, Unknown) else itself
        if row.read and not isinstance(value, Unknown):
            named = row.read(resource, value)
        if isinstance(named, Unknown):
            yield Unseen(stack.name, name, row.path, row.what, None, named.why, excused)
        elif named is not None:
            yield Unseen(stack.name, name, row.path, row.what, named, named, excused)
