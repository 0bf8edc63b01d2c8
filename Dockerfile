# Everything that an audit needs: the gate, its scanners, CDK for Python, and Node.js 24 (from PyPI).
#   docker build -t compliance . && docker run --rm --network none -v "$PWD:/app:ro" compliance audit
# An app with packages of its own: FROM this image, and install them.
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY requirements-uv.lock pyproject.toml README.md LICENSE requirements.lock ./
COPY compliance compliance
COPY docs docs
RUN python -m venv /opt/compliance \
    && /opt/compliance/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-uv.lock \
    && /opt/compliance/bin/uv pip install --no-cache --python /opt/compliance/bin/python \
       --constraints requirements.lock '.[node,scanners,sign,sigstore,deployed]'

FROM python:3.13-slim-bookworm
COPY --from=build /opt/compliance /opt/compliance
# An app's synth writes nowhere but to its home and to /tmp.
RUN useradd --create-home --uid 10001 compliance
ENV PATH=/opt/compliance/bin:$PATH PYTHONDONTWRITEBYTECODE=1 COMPLIANCE_PROGRESS=1
USER 10001
WORKDIR /app
ENTRYPOINT ["compliance"]
CMD ["audit"]
