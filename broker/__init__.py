"""All access to Apache Pulsar: connections, the schema registry, and provisioning over the admin REST."""
