#!/usr/bin/env bash
# Unpacks the code beside this file and installs its environment; what is there already stays.
set -euo pipefail

main() {
  cd "$(dirname "$0")"
  # shellcheck disable=SC1091
  . ./job.env
  local sum pins venv
  # A folder for each version: a run that is alive keeps the files that it was started with.
  sum=code-$(sha256sum <code.tar.gz | cut -c1-12)
  if [ ! -e "$sum/.complete" ]; then
    rm -rf "$sum"
    mkdir "$sum"
    tar -xzf code.tar.gz -C "$sum"
    touch "$sum/.complete"
  fi
  ln -sfn "$sum" code
  pins=code/locks/$LOCK.txt
  venv=${REPRISE_VENVS:-$HOME/.cache/reprise}/venv-$(sha256sum <"$pins" | cut -c1-12)
  if [ ! -e "$venv/.complete" ]; then
    echo "installing $pins into $venv (a few minutes, once)"
    rm -rf "$venv"
    # A TPU VM has an older Python than Reprise needs; uv brings the right one.
    python3 -m pip install --quiet --no-deps --require-hashes --upgrade --target uv -r uv.txt
    uv/bin/uv venv --quiet --python 3.11 "$venv"
    uv/bin/uv pip install --quiet --python "$venv/bin/python" --no-deps --require-hashes -r "$pins"
    touch "$venv/.complete"
  fi
  ln -sfn "$venv" venv
}

main "$@"
exit
