"""Everything that talks to Apache Pulsar: connections, the schema registry, and provisioning over its admin REST."""
