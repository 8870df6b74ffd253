# BASH_ENV of a node's units: lets a step go wrong where somebody asked for it (see sandbox/nodes/faults.py).
# The host keeps one file per step: `fail` or `hang`, how often or `always`, and the message.
case $0 in
/usr/local/lib/kubepark/steps/*)
  if [ -r "/run/kubepark-faults/${0##*/}" ]; then
    { read -r _mode _times; _message=$(cat); } <"/run/kubepark-faults/${0##*/}"
    _used=$(cat "/run/kubepark-faults/.${0##*/}" 2>/dev/null || echo 0)
    if [ "$_times" = always ] || [ "$_used" -lt "$_times" ]; then
      echo $((_used + 1)) >"/run/kubepark-faults/.${0##*/}"
      echo "$_message"
      if [ "$_mode" = hang ]; then exec sleep infinity; fi
      exit 1
    fi
  fi
  ;;
esac
