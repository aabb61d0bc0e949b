#!/bin/sh
# A secret that is mounted as a file becomes the variable that holds it; then the command runs in place of this.
set -eu
for name in QDRANT_API_KEY OPENAI_API_KEY; do
  file="/run/secrets/$(echo "$name" | tr '[:upper:]' '[:lower:]')"
  if [ -f "$file" ]; then
    export "$name=$(cat "$file")"
  fi
done
exec saeindex "$@"
