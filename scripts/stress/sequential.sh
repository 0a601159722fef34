#!/usr/bin/env bash
# Builds what is missing and plays the scenario "sequential" with a server of its own; see --help.
exec "$(dirname "${BASH_SOURCE[0]}")/play.sh" sequential "$@"
