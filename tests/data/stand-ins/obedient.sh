#!/bin/sh
# Plays a server or a client that obeys: it says that it is ready, and what is typed to it is run by the shell.
case " $* " in
*' --json '*) json=yes ;;
*) json= ;;
esac
if [ "$1" = -s ]; then
    port=$2
    [ "$port" = 0 ] && port=4711
    if [ $json ]; then
        echo "{\"event\":\"listening\",\"port\":$port}"
    else
        echo ">>> [Server listening on port $port]"
    fi
elif [ $json ]; then
    echo '{"event":"started","addr":"127.0.0.1:4712"}'
    echo '{"event":"registered","line":"[Welcome, You are registered.]"}'
    echo "{\"event\":\"table\",\"changed\":[{\"name\":\"$2\",\"addr\":\"127.0.0.1:4712\",\"online\":true}]}"
else
    echo '>>> [Welcome, You are registered.]'
    echo '>>> [Client table updated.]'
fi
# A trapped signal ends a `read` in some shells; the end of input ends the next one too.
missed=
while :; do
    if read -r line; then
        missed=
        eval "$line"
    elif [ $missed ]; then
        break
    else
        missed=yes
    fi
done
