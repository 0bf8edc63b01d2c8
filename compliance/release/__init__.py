"""From a green audit to a deployment: snapshot, attestation, deploy plan, deploy."""
