#!/usr/bin/env bash
# Builds what is missing and plays the scenario "chaos" with a server of its own; see --help.
exec "$(dirname "${BASH_SOURCE[0]}")/play.sh" chaos "$@"
