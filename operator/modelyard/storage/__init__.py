"""Where artefacts lie: storage URIs, and publishing, opening and verifying artefacts."""
