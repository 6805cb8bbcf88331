# shellcheck shell=bash
# Read by the other scripts and by make's shell: what is here works alike whatever another project, a login shell or a
# language has put into the environment. plugins/module_utils/host/environment.py says the same for what Ansible starts.

umask 022
set +o posix
# The language that programs read here; pip's files are weaker than this.
export LC_ALL=C.UTF-8 PIP_USER=0
# Functions that another shell has exported take the place of commands.
while read -r _ _ name; do
  unset -f "$name"
done < <(declare -Fx)

# PYTHONDONTWRITEBYTECODE is among these: a run of the site starts hundreds of processes, and each would compile Ansible or
# the client of Kubernetes for itself.
for name in $(compgen -e); do
  case ${name^^} in
    LC_ALL | PIP_USER) ;;
    PIP_CERT | PIP_CLIENT_CERT | PIP_CONFIG_FILE | PIP_DEFAULT_TIMEOUT | PIP_EXTRA_INDEX_URL | PIP_FIND_LINKS) ;;
    PIP_INDEX_URL | PIP_KEYRING_PROVIDER | PIP_PROXY | PIP_RETRIES | PIP_TIMEOUT | PIP_TRUSTED_HOST) ;;
    NPM_CONFIG_CA | NPM_CONFIG_CAFILE | NPM_CONFIG_GLOBALCONFIG | NPM_CONFIG_HTTPS_PROXY | NPM_CONFIG_NOPROXY) ;;
    NPM_CONFIG_PROXY | NPM_CONFIG_REGISTRY | NPM_CONFIG_STRICT_SSL | NPM_CONFIG_USERCONFIG | NPM_CONFIG_FETCH_*) ;;
    NPM_CONFIG__* | NODE_EXTRA_CA_CERTS) ;;
    GOAUTH | GOENV | GOINSECURE | GONOPROXY | GONOSUMDB | GOPRIVATE | GOPROXY | GOSUMDB | GOVCS) ;;
    ANSIBLE_ASK_PASS | ANSIBLE_ASK_VAULT_PASS | ANSIBLE_BECOME_ASK_PASS | ANSIBLE_BECOME_EXE | ANSIBLE_BECOME_FLAGS) ;;
    ANSIBLE_BECOME_METHOD | ANSIBLE_BECOME_PASSWORD_FILE | ANSIBLE_CONFIG | ANSIBLE_CONNECTION_PASSWORD_FILE) ;;
    ANSIBLE_DEBUG | ANSIBLE_DIFF_* | ANSIBLE_FORCE_COLOR | ANSIBLE_FORKS | ANSIBLE_HOME | ANSIBLE_HOST_KEY_CHECKING) ;;
    ANSIBLE_KEEP_REMOTE_FILES | ANSIBLE_LOG_* | ANSIBLE_NOCOLOR | ANSIBLE_PRIVATE_KEY_FILE | ANSIBLE_REMOTE_USER) ;;
    ANSIBLE_SSH_* | ANSIBLE_TIMEOUT | ANSIBLE_VAULT_* | ANSIBLE_VERBOSITY) ;;
    HELM_BINARY | HELM_DOCS_BINARY | KUBECONFIG) ;;
    ANSIBLE_* | BASH_ENV | CDPATH | ENV | GLOBIGNORE | GREP_OPTIONS | POSIXLY_CORRECT | TAR_OPTIONS) unset "$name" ;;
    PYTHON?* | PYTEST_ADDOPTS | PYTEST_PLUGINS | PIP_* | NPM_CONFIG_* | NODE_*) unset "$name" ;;
    GIT_ALTERNATE_OBJECT_DIRECTORIES | GIT_COMMON_DIR | GIT_DIR | GIT_INDEX_FILE | GIT_NAMESPACE) unset "$name" ;;
    GIT_OBJECT_DIRECTORY | GIT_PREFIX | GIT_WORK_TREE) unset "$name" ;;
    GO[A-Z0-9]* | CGO_* | BUILDAH_* | CONTAINERS_STORAGE_CONF | STORAGE_DRIVER | STORAGE_OPTS) unset "$name" ;;
    SYSTEMD_LOG* | SYSTEMD_NSPAWN* | SYSTEMD_PAGER* | SYSTEMD_SECCOMP*) unset "$name" ;;
    HELM_* | K8S_AUTH_* | KUBE*) unset "$name" ;;
    LANG | LANGUAGE | LC_*) unset "$name" ;;
    TEMP | TMP | TMPDIR) [[ ${!name} == /* && -d ${!name} && -w ${!name} ]] || unset "$name" ;;
  esac
done
unset name
