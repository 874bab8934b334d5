# What `up` needs to know of Kafka: one process that is broker and controller (KRaft), with five listeners on five ports in a
# row, so that starting again on the first finds them all. Sourced by `up`, whose `dir` and `binary` it uses, and by `tool`.
#
#   P    PLAINTEXT, everybody may do everything
#   P+1  SASL_SSL: agent/secret may do everything, guest/guest nothing; SCRAM-SHA-512 and PLAIN
#   P+2  SSL, for who has a certificate of our authority (CN=agent may do everything)
#   P+3  SSL with a certificate that expired in 2021
#   P+4  the controller's

# shellcheck disable=SC2034,SC2154 # used there; given there
readonly kafka_ports=5
# What makes Java start soon: the classes that setup has written down (KAFKA_CLASSES, while it does), and its quick compiler only.
kafka_java() { # FOLDER OPTION-OR-CLASS...: sets `command`
    local classes=-XX:SharedArchiveFile=$1/classes.jsa
    [[ ! ${KAFKA_CLASSES:-} ]] || classes=-XX:ArchiveClassesAtExit=$KAFKA_CLASSES
    local logger=-Dorg.slf4j.simpleLogger
    command=(java "$classes" -Xlog:disable -XX:+UseSerialGC -XX:TieredStopAtLevel=1
        "$logger.defaultLogLevel=warn" "$logger.log.kafka.server.KafkaRaftServer=info"
        "$logger.showDateTime=true" "$logger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS" -cp "$(realpath "$1/libs")/*" "${@:2}")
}

# An authority of our own, and what it signs. Once for a folder: clients may hold on to it.
kafka_certificates() {
    local tls=$dir/tls
    [[ -e $tls/server.pem ]] && return
    mkdir -p "$tls"
    : >"$tls/index"
    cat >"$tls/ca.conf" <<CONF
[ca]
default_ca = ours
[ours]
database = $tls/index
new_certs_dir = $tls
rand_serial = yes
unique_subject = no
default_md = sha256
policy = names
copy_extensions = copy
[names]
commonName = supplied
CONF
    kafka_key ca -x509 -days 3650 -subj '/CN=tests of sentinelops' -out "$tls/ca.pem"
    kafka_certificate expired 127.0.0.1 -startdate 200101000000Z -enddate 210101000000Z
    kafka_certificate client agent -days 3650
    kafka_certificate server 127.0.0.1 -days 3650
}
kafka_key() { # NAME OPTION...: an elliptic key is made at once
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/tls/$1.key" "${@:2}" 2>>"$dir/kafka.log"
}
kafka_certificate() { # NAME COMMON-NAME DATE-OPTION...: NAME.key, and in NAME.pem both
    local tls=$dir/tls
    kafka_key "$1" -subj "/CN=$2" -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' -out "$tls/$1.csr"
    openssl ca -batch -notext -config "$tls/ca.conf" -cert "$tls/ca.pem" -keyfile "$tls/ca.key" \
        -in "$tls/$1.csr" -out "$tls/$1.crt" "${@:3}" 2>>"$dir/kafka.log"
    cat "$tls/$1.key" "$tls/$1.crt" >"$tls/$1.pem"
}

kafka_config() { # PORT
    local sasl=$(($1 + 1)) ssl=$(($1 + 2)) expired=$(($1 + 3)) controller=$(($1 + 4))
    kafka_certificates
    cat >"$dir/kafka.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:$1,SASL://127.0.0.1:$sasl,MUTUAL://127.0.0.1:$ssl,EXPIRED://127.0.0.1:$expired,CONTROLLER://127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,EXPIRED:SSL
log.dirs=$dir/kafka

ssl.keystore.type=PEM
ssl.keystore.location=$dir/tls/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/tls/ca.pem
listener.name.mutual.ssl.client.auth=required
listener.name.expired.ssl.keystore.location=$dir/tls/expired.pem
listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_agent="secret" user_guest="guest";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:agent;User:CN=agent

num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# back-dated messages are test input
log.retention.ms=-1
# after a kill -9 it may not come back before its old session is over (9 s by default)
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# or a third of its memory is set aside for it
log.cleaner.dedupe.buffer.size=4194304
CONF
    cat >"$dir/sasl.properties" <<CONF
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="agent" password="secret";
ssl.truststore.type=PEM
ssl.truststore.location=$dir/tls/ca.pem
CONF
}
kafka_format() {
    [[ -e $dir/kafka/meta.properties ]] && return
    local command
    kafka_java "$binary" kafka.tools.StorageTool format -t "$(openssl rand -base64 16 | tr '+/' ab | tr -d =)" \
        -c "$dir/kafka.properties" --add-scram 'SCRAM-SHA-512=[name=agent,password=secret]' \
        --add-scram 'SCRAM-SHA-512=[name=guest,password=guest]'
    "${command[@]}" >>"$dir/kafka.log" 2>&1
}

# It says so when every listener is open and the controller has let it in: it answers on the first port before that, and still
# ends when another is taken.
kafka_started() { # BYTES: the length of its log before this start
    [[ $(tail -c "+$(($1 + 1))" "$dir/kafka.log") == *'Kafka Server started'* ]]
}
kafka_says() { # PORT
    printf '%s\n' "url=127.0.0.1:$1" "sasl=127.0.0.1:$(($1 + 1))" "ssl=127.0.0.1:$(($1 + 2))" "expired=127.0.0.1:$(($1 + 3))" \
        "ca=$dir/tls/ca.pem" "cert=$dir/tls/client.crt" "key=$dir/tls/client.key" "client=$dir/sasl.properties"
}
