#!/usr/bin/env bash
# Opens a shell whose kubectl, helm, istioctl and etcdctl are the sandbox's, or runs a command in it.
# Usage: shell.sh INVENTORY [COMMAND [ARGUMENT…]]
#
# Contexts and namespaces are switched in a kubeconfig of the shell's own, which goes with it: neither the sandbox's nor yours
# changes. It has the sandbox's contexts and those of your own kubeconfig.
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
yours=${KUBECONFIG:-$HOME/.kube/config}
. scripts/environment.sh

inventory=$1
shift
. scripts/sandbox.sh

umask 077
directory=$(mktemp -d "${TMPDIR:-/tmp}/sandbox-shell.XXXXXX")
trap 'rm -rf -- "$directory"' EXIT
export PATH="$sandbox_state/bin:$PATH"
KUBECONFIG="$sandbox_state/kubeconfig:$yours" kubectl config view --raw --flatten >"$directory/kubeconfig"
export KUBECONFIG="$directory/kubeconfig"

# The API servers know where etcd is.
endpoints=$(kubectl --namespace=kube-system --request-timeout=3s get pods --selector=component=kube-apiserver \
  --output=jsonpath='{.items[0].spec.containers[0].command}' 2>/dev/null | grep -o 'etcd-servers=[^"]*' || true)
export ETCDCTL_ENDPOINTS=${endpoints#etcd-servers=} ETCDCTL_CACERT=$sandbox_state/pki/etcd/ca.crt
export ETCDCTL_CERT=$sandbox_state/pki/etcd/admin.crt ETCDCTL_KEY=$sandbox_state/pki/etcd/admin.key
export SANDBOX_SHELL=$sandbox_name

cat >"$directory/bashrc" <<'RC'
[ ! -r ~/.bashrc ] || . ~/.bashrc
export PATH="$sandbox_state/bin:$PATH"
[ ! -r /usr/share/bash-completion/bash_completion ] || . /usr/share/bash-completion/bash_completion
for program in kubectl helm istioctl; do
  ! command -v "$program" >/dev/null || . <("$program" completion bash 2>/dev/null)
done
unset program
alias k=kubectl
complete -o default -F __start_kubectl k 2>/dev/null || true

# kctx [CONTEXT], kns [NAMESPACE]: list, or switch, for this shell.
kctx() {
  if [ $# -eq 0 ]; then kubectl config get-contexts; else kubectl config use-context "$1"; fi
}
kns() {
  if [ $# -eq 0 ]; then
    kubectl get namespaces
  else
    kubectl get namespace "$1" --output=name >/dev/null && kubectl config set-context --current --namespace="$1"
  fi
}
__sandbox_words() {
  local found
  case $1 in
    kctx) found=$(kubectl config get-contexts --output=name 2>/dev/null) ;;
    *) found=$(kubectl get namespaces --output=jsonpath='{.items[*].metadata.name}' 2>/dev/null) ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$found" -- "$2")
}
complete -F __sandbox_words kctx kns

# Context and namespace, read from the file: no program is started for each prompt but one.
__sandbox_prompt() {
  kubectl config view --minify --output=jsonpath='{.contexts[0].name}|{.contexts[0].context.namespace}' 2>/dev/null |
    { IFS='|' read -r context namespace || true; printf '(%s:%s) ' "${context:-no context}" "${namespace:-default}"; }
}
PS1='$(__sandbox_prompt)'"${PS1:-\\w\\$ }"
RC

if [ $# -gt 0 ]; then
  "$@"
else
  echo "Sandbox $sandbox_name: kubectl (k), helm, istioctl and etcdctl are its own; kctx and kns switch context and namespace."
  # How the last command in it ended is nobody else's matter.
  bash --rcfile "$directory/bashrc" -i || true
fi
