"""Forms of secrets in texts and arguments, and harmless texts that look like them: one table for all tests.

Each form has the secret parts of its text, and the words that must survive. The SDK's tests and the pipeline's read the same
table, because both follow the same rules.
"""

from typing import Final, NamedTuple

JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0NzExIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
GITHUB: Final = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
AWS: Final = "AKIA" + "IOSFODNN7EXAMPLE"
STRIPE: Final = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
SLACK: Final = "xoxb-" + "2345678901-abcdefghijkl"
PEM: Final = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASC"


class Form(NamedTuple):
    """A text with secrets in it."""

    what: str
    text: str
    secrets: tuple[str, ...]
    survive: tuple[str, ...] = ()


FORMS: Final = (
    # Sentences and commands.
    Form(
        "a sentence with a colon and quotes",
        'the secret is: "Zq7xKp93LmW2vTnB", the token was "Zq8xKp93LmW2vTnB".',
        ("Zq7xKp93LmW2vTnB", "Zq8xKp93LmW2vTnB"),
        ('the secret is: "', '", the token was "', '".'),
    ),
    Form(
        "sqlplus",
        "sqlplus -S -L scott/tiger2@//db:1521/x ended with 1",
        ("tiger2",),
        ("sqlplus -S -L scott/", "@//db:1521/x ended with 1"),
    ),
    Form("coloured", "\x1b[36mpassword\x1b[0m=\x1b[35mhunter2\x1b[0m", ("hunter2",), ("password=",)),
    Form("no-break spaces", "password\u00a0=\u00a0hunter2", ("hunter2",), ("password = ",)),
    Form("zero-width space in a name", "pass\u200bword=hunter2", ("hunter2",), ("password=",)),
    Form(
        "control character",
        "Authorization\x07: \x1b[32mBearer hunter2-x",
        ("hunter2-x",),
        ("Authorization: ",),
    ),
    Form("Russian", "неверный пароль: hunter2", ("hunter2",), ("неверный пароль: ",)),
    # Query strings.
    Form(
        "query api_key",
        "GET https://api.example.com/v1/films?api_key=hunter2&page=3 failed",
        ("hunter2",),
        ("GET https://api.example.com/v1/films?api_key=", "&page=3 failed"),
    ),
    Form(
        "query access_token",
        "401 for url https://h.example/x?access_token=hunter2",
        ("hunter2",),
        ("401 for url https://h.example/x?access_token=",),
    ),
    Form(
        "query signature of S3",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=cr3dent&X-Amz-Expires=900&X-Amz-Signature=f00dbeef99 expired",
        ("f00dbeef99", "cr3dent"),
        ("X-Amz-Expires=900", "expired"),
    ),
    Form(
        "query security token",
        "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=IQoJb3Jp%2FZ2l&x=1",
        ("IQoJb3Jp", "Z2l"),
        ("&x=1",),
    ),
    Form(
        "query of Azure's SAS",
        "https://acc.blob.core.windows.net/c/b?sv=2022-11-02&se=2026-01-01&sig=aB%2Bc9d%3D&sp=r",
        ("aB%2Bc9d",),
        ("sv=2022-11-02", "sp=r"),
    ),
    Form(
        "query of Google",
        "https://maps.example.com/api/geocode?address=Krakow&key=q8Zw3nT0pL5vB1x",
        ("q8Zw3nT0pL5vB1x",),
        ("address=Krakow",),
    ),
    Form(
        "query of a fragment",
        "redirected to https://app.example/cb#access_token=hunter2&expires_in=3600",
        ("hunter2",),
        ("&expires_in=3600",),
    ),
    Form(
        "query behind an encoded URL",
        "login?next=https%3A%2F%2Fh.example%2F%3Ftoken%3Dhunter2%26page%3D3",
        ("hunter2",),
        ("page%3D3",),
    ),
    Form(
        "query in an HTML attribute",
        '<a href="https://h.example/?user=bob&amp;password=hunter2&amp;x=1">',
        ("hunter2",),
        ("user=bob", "x=1"),
    ),
    Form(
        "query with an ampersand as JSON escapes it",
        r'{"url":"https://h.example/?api_key=hunter2\u0026page=3"}',
        ("hunter2",),
        ("page=3",),
    ),
    Form(
        "path alone",
        "Max retries exceeded with url: /v1/x?token=hunter2 (Caused by timeout)",
        ("hunter2",),
        ("(Caused by timeout)",),
    ),
    # URLs.
    Form(
        "password",
        "cannot reach postgres://app:hunter2@db:5432/x",
        ("hunter2",),
        ("cannot reach postgres://app:", "@db:5432/x"),
    ),
    Form(
        "password without a user",
        "redis://:hunter2@cache:6379/0 refused",
        ("hunter2",),
        ("redis://:", "@cache:6379/0 refused"),
    ),
    Form(
        "token as user",
        "fatal: unable to access 'https://hunter2@git.example.com/org/repo.git/'",
        ("hunter2",),
        ("fatal: unable to access", "@git.example.com/org/repo.git"),
    ),
    Form(
        "token as user with an empty password",
        "https://hunter2:@api.example.com/v1",
        ("hunter2",),
        ("@api.example.com/v1",),
    ),
    Form(
        "token as user with a known password",
        "https://hunter2:x-oauth-basic@github.com/org/repo",
        ("hunter2",),
        ("@github.com/org/repo",),
    ),
    Form(
        "password of a known user",
        "clone https://x-access-token:hunter2@github.com/org/repo failed",
        ("hunter2",),
        ("@github.com/org/repo failed",),
    ),
    Form(
        "password with a slash",
        "cannot connect to amqp://app:hun/ter2@mq:5672/vhost now",
        ("hun/ter2", "ter2", ":hun"),
        ("amqp://app:", "@mq:5672/vhost now"),
    ),
    Form(
        "password with a slash behind digits",
        "postgresql://app:12/ter2@db:5432/x is away",
        ("12/", "ter2"),
        ("@db:5432/x is away",),
    ),
    Form(
        "password with a slash behind digits, of the web",
        "https://app:12/ter2@h.example:8443/x is away",
        ("12/", "ter2"),
        ("@h.example:8443/x is away",),
    ),
    Form(
        "password with an at",
        "postgres://app:hun@ter2@db/x is away",
        ("hun@", "ter2"),
        ("postgres://app:", "@db/x is away"),
    ),
    Form(
        "password with a slash and an at",
        "postgres://app:hun@t/er2@db/x is away",
        ("hun", "er2"),
        ("@db/x is away",),
    ),
    Form(
        "password with a blank",
        "cannot reach postgres://app:hun ter2@db:5432/x now",
        ("hun", "ter2"),
        ("cannot reach postgres://app:", "@db:5432/x now"),
    ),
    Form(
        "password with a blank behind digits",
        "cannot reach postgres://app:12 ter2@db:5432/x now",
        ("12 ", "ter2"),
        ("@db:5432/x now",),
    ),
    Form(
        "password with blanks in quotes",
        "invalid dsn: 'postgres://app:hun ter 2@db/x' now",
        ("hun", "ter 2"),
        ("@db/x' now",),
    ),
    Form(
        "password with a question mark",
        "mysql://app:hun?ter2@db/x is away",
        ("hun", "ter2"),
        ("@db/x is away",),
    ),
    Form("password with a hash", "mysql://app:hun#ter2@db/x is away", ("hun", "ter2"), ("@db/x is away",)),
    Form("password with a colon", "mysql://app:hun:ter2@db/x is away", ("hun", "ter2"), ("@db/x is away",)),
    Form("password with a quote", "mysql://app:hun'ter2@db/x is away", ("hun", "ter2"), ("@db/x is away",)),
    Form(
        "password percent-encoded",
        "mongodb+srv://app:hun%40ter%2F2@cl.example.net/db?retryWrites=true",
        ("hun", "ter%2F2"),
        ("@cl.example.net/db?retryWrites=true",),
    ),
    Form(
        "host of IPv6",
        "redis://app:hunter2@[::1]:6379/0 timed out",
        ("hunter2",),
        ("@[::1]:6379/0 timed out",),
    ),
    Form(
        "several hosts",
        "mongodb://app:hunter2@one:27017,two:27017/db?replicaSet=rs0 away",
        ("hunter2",),
        ("@one:27017,two:27017/db?replicaSet=rs0 away",),
    ),
    Form(
        "several hosts of Pulsar",
        "pulsar+ssl://app:hunter2@one:6651,two:6651 away",
        ("hunter2",),
        ("@one:6651,two:6651 away",),
    ),
    Form(
        "several hosts with a user each",
        "kafka://a:hunter2@one:9092,b:hunter3@two:9092 away",
        ("hunter2", "hunter3"),
        ("@two:9092 away",),
    ),
    Form(
        "slashes escaped in JSON",
        r'{"dsn": "https:\/\/app:hunter2@h.example\/4711"}',
        ("hunter2",),
        (r"@h.example\/4711",),
    ),
    Form(
        "cut in its middle by pydantic",
        "input_value='https://app:hun...xample.com/path', input_type=str",
        ("hun.", ":hun"),
        ("xample.com/path",),
    ),
    Form(
        "without a scheme", "proxy //app:hunter2@proxy:3128 refused", ("hunter2",), ("@proxy:3128 refused",)
    ),
    Form(
        "webhook of Slack",
        "POST https://hooks.slack.com/services/T0001/B0002/hunter2hunter2 gave 404",
        ("hunter2hunter2", "B0002"),
        ("POST https://hooks.slack.com/services/", "gave 404"),
    ),
    # Connection strings.
    Form(
        "libpq",
        "connection failed: host=db user=app password=hunter2 dbname=x",
        ("hunter2",),
        ("host=db user=app password=", "dbname=x"),
    ),
    Form(
        "libpq with quotes",
        r"host=db password='hun\'ter 2' dbname=x",
        ("hun", "ter 2"),
        ("host=db password='", "' dbname=x"),
    ),
    Form(
        "libpq with a comma and a bracket",
        "host=db password=hu,n)ter2 dbname=x",
        ("hu,n", "ter2"),
        ("host=db", "dbname=x"),
    ),
    Form(
        "libpq with an escaped blank",
        r"host=db password=hun\ ter2 dbname=x",
        ("hun", "ter2"),
        ("host=db", "dbname=x"),
    ),
    Form(
        "JDBC",
        "jdbc:postgresql://db:5432/x?user=app&password=hunter2&ssl=true",
        ("hunter2",),
        ("jdbc:postgresql://db:5432/x?user=app", "&ssl=true"),
    ),
    Form(
        "JDBC of SQL Server",
        "jdbc:sqlserver://db:1433;databaseName=x;user=app;password=hunter2;encrypt=true",
        ("hunter2",),
        ("databaseName=x;user=app", ";encrypt=true"),
    ),
    Form(
        "JDBC of Oracle",
        "jdbc:oracle:thin:scott/tiger2@//db:1521/x refused",
        ("tiger2",),
        ("jdbc:oracle:thin:scott/", "@//db:1521/x refused"),
    ),
    Form(
        "ODBC",
        "Driver={PostgreSQL};Server=db;Uid=app;Pwd=hunter2;Database=x",
        ("hunter2",),
        ("Driver={PostgreSQL};Server=db;Uid=app;Pwd=", ";Database=x"),
    ),
    Form(
        "ODBC with braces",
        "Server=db;Pwd={hun;t}}er2};Database=x",
        ("hun", "er2"),
        ("Server=db;Pwd=", ";Database=x"),
    ),
    Form(
        "ODBC in capitals",
        "DRIVER={ODBC Driver 18};SERVER=db;UID=app;PWD=hunter2;DATABASE=x",
        ("hunter2",),
        ("UID=app;PWD=", ";DATABASE=x"),
    ),
    Form("an arrow", "password -> hunter2, user -> bob", ("hunter2",), ("password -> ", "user -> bob")),
    Form(
        "a token in quotes",
        "invalid token 'hunter2' of user 'bob'",
        ("hunter2",),
        ("invalid token '", "of user 'bob'"),
    ),
    Form(
        "a Dockerfile",
        "Step 3: ENV DB_PASSWORD swordfish\nStep 4",
        ("swordfish",),
        ("ENV DB_PASSWORD", "Step 4"),
    ),
    Form(
        "query hmac",
        "https://shop.example/?shop=x&hmac=700e2dad&ts=1",
        ("700e2dad",),
        ("?shop=x&hmac=", "&ts=1"),
    ),
    Form(
        "ADO.NET",
        "Server=db;User Id=app;Password=hunter2;Trust Server Certificate=True",
        ("hunter2",),
        ("User Id=app", ";Trust Server Certificate=True"),
    ),
    Form(
        "Azure storage",
        "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=aGVsbG8rd29ybGQ0Mg==;EndpointSuffix=core.windows.net",
        ("aGVsbG8rd29ybGQ0Mg",),
        ("AccountName=acc", ";EndpointSuffix=core.windows.net"),
    ),
    Form(
        "Azure service bus",
        "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=aGVsbG8rd29ybGQ0Mg=",
        ("aGVsbG8rd29ybGQ0Mg",),
        ("SharedAccessKeyName=Root",),
    ),
    Form(
        "Go's MySQL driver",
        "dial app:hun/ter2@tcp(db:3306)/x: refused",
        ("hun", "ter2"),
        ("dial app:", "@tcp(db:3306)/x: refused"),
    ),
    Form(
        "JAAS of Kafka",
        'PlainLoginModule required username="app" password="hunter2";',
        ("hunter2",),
        ('username="app"',),
    ),
    # Headers.
    Form(
        "Authorization Bearer",
        "sent Authorization: Bearer hunter2 to the gateway",
        ("hunter2",),
        ("sent Authorization: Bearer ", "to the gateway"),
    ),
    Form(
        "Authorization Basic",
        "sent Authorization: Basic YXBwOmh1bnRlcjI= to the gateway",
        ("YXBwOmh1bnRlcjI",),
        ("Authorization: Basic", "to the gateway"),
    ),
    Form(
        "Authorization Digest",
        'Authorization: Digest username="app", realm="x", nonce="n0nce", response="6629fae49393a05397450978507c4ef1"',
        ("6629fae49393a05397450978507c4ef1", "n0nce"),
    ),
    Form(
        "Authorization of AWS",
        f"Authorization: AWS4-HMAC-SHA256 Credential={AWS}/20260101/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=fe5f80",
        (AWS, "fe5f80"),
        ("Authorization: AWS4-HMAC-SHA256",),
    ),
    Form(
        "Authorization without a scheme",
        "Authorization: hunter2hunter",
        ("hunter2hunter",),
        ("Authorization:",),
    ),
    Form(
        "Proxy-Authorization",
        "> Proxy-Authorization: Basic YXBwOmh1bnRlcjI=\r\n> Host: x.example",
        ("YXBwOmh1bnRlcjI",),
        ("> Host: x.example",),
    ),
    Form("Bearer alone", "the server refused Bearer hunter2", ("hunter2",), ("the server refused Bearer ",)),
    Form("Bearer in lower case", "bearer hunter2-token rejected", ("hunter2-token",), ("rejected",)),
    Form(
        "X-Api-Key",
        "request with X-Api-Key: hunter2 was refused",
        ("hunter2",),
        ("request with X-Api-Key:", "was refused"),
    ),
    Form(
        "signature of a webhook",
        "bad Stripe-Signature: t=1700000000,v1=5257a869e7ecebed of event 7",
        ("5257a869e7ecebed",),
        ("bad Stripe-Signature:", "of event 7"),
    ),
    Form(
        "Bearer in quotes",
        "sent ['Accept', 'Bearer hunter2='] today",
        ("hunter2",),
        ("sent ['Accept', 'Bearer ", "today"),
    ),
    Form("Cookie", "Cookie: sessionid=hunter2; csrftoken=hunter3", ("hunter2", "hunter3"), ("Cookie:",)),
    Form("Set-Cookie", "Set-Cookie: sid=hunter2; Path=/; HttpOnly", ("hunter2",), ("Set-Cookie:",)),
    Form(
        "pairs of headers",
        "[('Accept', '*/*'), ('Authorization', 'Bearer hunter2'), ('X-Api-Key', 'hunter3')]",
        ("hunter2", "hunter3"),
        ("('Accept', '*/*')",),
    ),
    Form(
        "pairs of headers as bytes",
        "[(b'host', b'x.example'), (b'authorization', b'Token hunter2')]",
        ("hunter2",),
        ("b'x.example'",),
    ),
    Form(
        "pairs of headers in JSON",
        '[["accept", "*/*"], ["x-api-key", "hunter2"]]',
        ("hunter2",),
        ('["accept", "*/*"]',),
    ),
    Form(
        "names and values",
        '{"headers": [{"name": "Authorization", "value": "hunter2"}, {"name": "Accept", "value": "text"}]}',
        ("hunter2",),
        ('"value": "text"',),
    ),
    # JSON, reprs, YAML, environments, XML.
    Form(
        "JSON",
        '{"user": "bob", "password": "hunter2", "retries": 3}',
        ("hunter2",),
        ('"user": "bob"', '"retries": 3'),
    ),
    Form("JSON without blanks", '{"apiKey":"hun\\"ter2","x":1}', ("hun", "ter2"), ('"x":1',)),
    Form(
        "JSON in JSON",
        '{"body": "{\\"client_secret\\": \\"hunter2\\", \\"page\\": 3}"}',
        ("hunter2",),
        ('\\"page\\": 3',),
    ),
    Form("JSON with a number", '{"password": 471142, "x": 1}', ("471142",), ('"x": 1',)),
    Form(
        "JSON with a list", '{"tokens": ["hunter2", "hunter3"], "x": 1}', ("hunter2", "hunter3"), ('"x": 1',)
    ),
    Form(
        "JSON with an object",
        '{"credentials": {"user": "bob", "p": "hunter2"}, "x": 1}',
        ("hunter2",),
        ('"x": 1',),
    ),
    Form("JSON that was cut", '{"x": 1, "refresh_token": "hunter2hunt', ("hunter2",), ('"x": 1',)),
    Form(
        "repr of a dict",
        "{'user': 'bob', 'db_password': 'hunter2', 'x': 1}",
        ("hunter2",),
        ("'user': 'bob'", "'x': 1"),
    ),
    Form(
        "repr of a dict with the other quotes",
        "{'secret': \"hun'ter2\", 'x': 1}",
        ("hun'", "ter2"),
        ("'x': 1",),
    ),
    Form(
        "repr of a dataclass",
        "User(name='bob', password='hunter2', age=7)",
        ("hunter2",),
        ("User(name='bob', password='", "age=7)"),
    ),
    Form(
        "repr of kwargs",
        "TypeError in connect(host='db', auth=('bob', 'hunter2'), port=1)",
        ("hunter2",),
        ("host='db'", "port=1"),
    ),
    Form(
        "camelCase",
        'settings {"clientSecret":"hunter2","accessToken":"hunter3","region":"eu"}',
        ("hunter2", "hunter3"),
        ('"region":"eu"',),
    ),
    Form(
        "YAML",
        "database:\n  host: db\n  password: hunter2\n  port: 5432",
        ("hunter2",),
        ("host: db", "port: 5432"),
    ),
    Form("TOML", 'host = "db"\napi-key = "hunter2"\nport = 1', ("hunter2",), ('host = "db"', "port = 1")),
    Form(
        "environment",
        "PATH=/usr/bin\nDB_PASSWORD=hunter2\nAWS_SECRET_ACCESS_KEY=wJalr/bPx+EX\nHOME=/root",
        ("hunter2", "wJalr/bPx+EX"),
        ("PATH=/usr/bin", "HOME=/root"),
    ),
    Form("export", "export API_TOKEN='hunter2' && run", ("hunter2",), ("export API_TOKEN=", "&& run")),
    Form(
        "repr of an environment",
        "environ({'PATH': '/usr/bin', 'PGPASSWORD': 'hunter2'})",
        ("hunter2",),
        ("'PATH': '/usr/bin'",),
    ),
    Form(
        "several pairs with commas",
        "sasl failed: username=app,password=hunter2,mechanism=PLAIN",
        ("hunter2",),
        ("username=app,password=", ",mechanism=PLAIN"),
    ),
    Form(
        "pairs of a log",
        'level=error msg="refused" token=hunter2 took=3s',
        ("hunter2",),
        ('msg="refused"', "took=3s"),
    ),
    Form(
        "XML",
        "<login><user>bob</user><password>hunter2</password></login>",
        ("hunter2",),
        ("<user>bob</user><password>", "</login>"),
    ),
    Form(
        "XML of WS-Security",
        '<wsse:Password Type="x#PasswordText">hunter2</wsse:Password> refused',
        ("hunter2",),
        ("refused",),
    ),
    Form(
        "XML attributes",
        '<add key="ApiKey" value="hunter2" /><add key="Page" value="3" />',
        ("hunter2",),
        ('<add key="Page" value="3" />',),
    ),
    Form("two words", "API key: hunter2hunter, region: eu", ("hunter2hunter",), ("API key:", "region: eu")),
    Form(
        "a sentence",
        "login failed: the password is hunter2!, user bob",
        ("hunter2",),
        ("login failed: the password is ", "user bob"),
    ),
    Form(
        "a sentence without a verb",
        "login with password hunter2 failed for bob",
        ("hunter2",),
        ("login with password ", "failed for bob"),
    ),
    Form(
        "a passphrase",
        "passphrase: correct horse battery staple, user: bob",
        ("horse", "staple"),
        ("passphrase: ", "user: bob"),
    ),
    Form(
        "repr of an object",
        "{'auth': HTTPBasicAuth('bob', 'hunter2'), 'x': 1}",
        ("hunter2",),
        ("'auth': HTTPBasicAuth(", "'x': 1"),
    ),
    Form(
        "a sentence with quotes",
        "invalid password 'hunter2' for user 'bob'",
        ("hunter2",),
        ("invalid password", "for user 'bob'"),
    ),
    Form(
        "an API key that was provided",
        "Incorrect API key provided: sk-proj-4a5b6c7d8e9f0a1b2c3d. See the docs",
        ("4a5b6c7d8e9f",),
        ("Incorrect API key provided:", "See the docs"),
    ),
    # Command lines.
    Form(
        "option with =",
        "Command '['pg_dump', '--password=hunter2', 'x']' returned 1",
        ("hunter2",),
        ("pg_dump", "returned 1"),
    ),
    Form(
        "option with a blank",
        "ran tool --user bob --api-token hunter2 --verbose",
        ("hunter2",),
        ("--user bob --api-token", "--verbose"),
    ),
    Form(
        "option in a list",
        "Command '['tool', '--password', 'hunter2', '-v']' returned 1",
        ("hunter2",),
        ("'tool', '--password', '", "'-v'", "returned 1"),
    ),
    Form(
        "mysql -p",
        "mysqldump -u root -phunter2 films > out.sql",
        ("hunter2",),
        ("mysqldump -u root -p", "films > out.sql"),
    ),
    Form("sshpass -p", "sshpass -p hunter2 ssh bob@host uptime", ("hunter2",), ("ssh bob@host uptime",)),
    Form(
        "docker login -p",
        "docker login -u bob -p hunter2 registry.example.com",
        ("hunter2",),
        ("docker login -u bob -p", "registry.example.com"),
    ),
    Form(
        "curl -u",
        "curl -sS -u bob:hunter2 https://h.example/x",
        ("hunter2",),
        ("curl -sS -u bob:", "https://h.example/x"),
    ),
    Form(
        "curl -H",
        'curl -H "Authorization: Bearer hunter2" https://h.example/x',
        ("hunter2",),
        ("https://h.example/x",),
    ),
    Form(
        "netrc",
        "machine h.example login bob password hunter2\nmachine two",
        ("hunter2",),
        ("machine h.example login bob password", "machine two"),
    ),
    # SQL and databases.
    Form(
        "ALTER ROLE",
        "syntax error: ALTER ROLE app WITH PASSWORD 'hunter2' VALID",
        ("hunter2",),
        ("ALTER ROLE app WITH PASSWORD", "VALID"),
    ),
    Form(
        "IDENTIFIED BY",
        "CREATE USER app IDENTIFIED BY 'hunter2' REQUIRE SSL",
        ("hunter2",),
        ("CREATE USER app IDENTIFIED BY", "REQUIRE SSL"),
    ),
    Form(
        "parameters of SQLAlchemy",
        "[SQL: INSERT INTO t VALUES (%(name)s)]\n[parameters: {'name': 'bob', 'password': 'hunter2'}]",
        ("hunter2",),
        ("'name': 'bob'",),
    ),
    Form(
        "a unique key of Postgres",
        "duplicate key value\nDETAIL:  Key (api_token)=(hunter2) already exists.",
        ("hunter2",),
        ("DETAIL:  Key (api_token)=(", "already exists."),
    ),
    Form(
        "pydantic",
        "1 validation error for User\npassword\n  String should have at least 8 characters [type=string_too_short, input_value='hunter2', input_type=str]",
        ("hunter2",),
        ("String should have at least 8 characters", "input_type=str"),
    ),
    # Known by their looks.
    Form("JWT", f"expired: {JWT} of user 7", (JWT, JWT.split(".")[2]), ("expired:", "of user 7")),
    Form("key of AWS", f"no such key {AWS} in the account", (AWS,), ("no such key", "in the account")),
    Form("token of GitHub", f"remote refused {GITHUB} today", (GITHUB,), ("remote refused", "today")),
    Form(
        "fine-grained token of GitHub",
        "remote refused github_pat_11ABCDEFG0abcdefghijkl_mnopq today",
        ("11ABCDEFG0abcdefghijkl",),
        ("remote refused", "today"),
    ),
    Form(
        "token of GitLab",
        "remote refused glpat-a1B2c3D4e5F6g7H8i9J0 today",
        ("a1B2c3D4e5F6",),
        ("remote refused", "today"),
    ),
    Form("token of Slack", f"slack refused {SLACK} today", (SLACK,), ("slack refused", "today")),
    Form("key of Stripe", f"Invalid API Key provided: {STRIPE}", (STRIPE,), ("Invalid API Key provided:",)),
    Form(
        "key of Google",
        "the key AIzaSyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v is not allowed",
        ("AIzaSyA1bC2",),
        ("is not allowed",),
    ),
    Form(
        "private key",
        f"bad key:\n-----BEGIN RSA PRIVATE KEY-----\n{PEM}\n-----END RSA PRIVATE KEY-----\nat line 3",
        (PEM,),
        ("bad key:", "at line 3"),
    ),
    Form(
        "private key on one line",
        f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{PEM}\\n-----END PRIVATE KEY-----\\n", "x": 1}}',
        (PEM,),
        ('"x": 1',),
    ),
    Form("private key that was cut", f"bad key -----BEGIN EC PRIVATE KEY-----\n{PEM}", (PEM,), ("bad key",)),
    Form(
        "token of npm",
        "npm ERR! 401 npm_a1B2c3D4e5F6g7H8i9J0k1L2m3N4 refused",
        ("a1B2c3D4e5F6",),
        ("npm ERR! 401", "refused"),
    ),
    Form(
        "token of Telegram",
        "https://api.telegram.org/bot123456789:AAF1hunter2hunter2hunter2hunter2hun/getMe failed",
        ("AAF1hunter2",),
        ("https://api.telegram.org/bot", "getMe failed"),
    ),
    # Exceptions of several lines.
    Form(
        "traceback",
        'Traceback (most recent call last):\n  File "x.py", line 3, in go\nConnectionError: https://bob:hunter2@h.example/x\n',
        ("hunter2",),
        ('File "x.py", line 3, in go', "@h.example/x"),
    ),
    Form(
        "response that was quoted",
        'HTTPError: 400 {"error": "invalid_grant", "refresh_token": "hunter2"}\nretry later',
        ("hunter2",),
        ("invalid_grant", "retry later"),
    ),
)

HARMLESS: Final = (
    *("seat map has no rows: showtime 4711 of cinema 12", "token count: 5"),
    *("\x1b[31mseat map\x1b[0m has no rows", "a\u00a0token count: 5"),
    *("the token is: expired", 'the secret was "not found"', "sqlplus ended with 1, see log/today@host"),
    *("used 4096 tokens, max_tokens=4096, prompt_tokens: 512", "authors=Bob, Alice"),
    *('author: Jane; tokenizer="bert-base-uncased"; monkey=banana',),
    *("keyboard: qwerty, primary_key=4711, cache_key=movie:4711, sort_key: title",),
    *("key=value, KeyError: 'password'",),
    *('FATAL: password authentication failed for user "app"',),
    *("fe_sendauth: no password supplied", "missing required argument 'password'"),
    *('column "token" does not exist', "got an unexpected keyword argument 'api_key'"),
    *("Unexpected token < in JSON at position 0",),
    *("Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",),
    *("SyntaxError: unexpected token: identifier", "token: expired"),
    *("Invalid token: signature mismatch", "the token is invalid or expired"),
    *("password: must not be empty", "password=None, token=null, secret: ''"),
    *("password=*** token=[FILTERED]",),
    *('WWW-Authenticate: Bearer realm="example", error="invalid_token"',),
    *("Bearer token is missing", "the bearer of bad news", "basic usage: see README"),
    *("auth: failed, session closed, cookie missing",),
    *("session 4711 closed after 12 s, signature mismatch",),
    *("passed=12 failed=3, pass: 12, bypass=true, compass: north",),
    *("token_type=bearer expires_in=3600 token_url=https://h.example/oauth",),
    *("peer https://peer.example:9077 refused write from agent ai:claude-code@pop-os",),
    *("sync https://peer:9077/api/v1/sync/push -> 403: not enrolled, contact ops@corp.example",),
    *("peer https://peer.example:9077 unreachable, contact ops@corp.example",),
    *("mongodb://one:27017,two:27017/db is away, tell bob@example.org",),
    *("GET http://localhost:8080/path failed; https://medium.com/@user and https://npm.example/@scope/pkg",),
    *("bob@example.org wrote to git@github.com:org/repo.git",),
    *("ssh://git@github.com/org/repo.git, sftp://bob@host/x, postgresql://jobtrail@db:5432/jobtrail",),
    *("image nginx:1.25@sha256:0123456789abcdef",),
    *("expected pulsar://host:6650 or pulsar+ssl://host:6651",),
    *("abfss://container@account.dfs.core.windows.net/x",),
    *('File "/app/auth/tokens.py", line 12, in refresh_token',),
    *("app.auth:login in module accounts.tokens:rotate",),
    *("mkdir -p /tmp/x && docker run -u 1000:1000 -p 8080:80 nginx",),
    *("the option --password requires an argument",),
    *("design=modern, signal=9, assign: left, insight: 3", "PWD=/home/bob OLDPWD=/"),
    *("def log_in(user: str, password: str, token: str | None = None)",),
    *("public_key=ssh-rsa, foreign_key: orders.id, key: 4711, idempotency_key=movie:4711",),
    *("3 of 12 passwords changed; password_policy=strict",),
    *("<password></password> <token>5</token>",),
    *("-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",),
    *("commit 7678617 of task-4711 on disk-2 took 3.5 s at 12:30:15",),
    *("User(password=SecretStr('**********'))",),
    *("password field2 is required, password authentication failed",),
    *("status code: 404, error code: 23505, exit code=137",),
)

# Names whose values are secrets wherever they stand, and names that only hold a part of one.
NAMES: Final = (
    *("password", "passwd", "PASSWORD", "db_password", "DbPassword", "db-password", "userPwd"),
    *("pwd", "passphrase", "secret", "client_secret", "clientSecret", "SECRET_KEY"),
    *("AWS_SECRET_ACCESS_KEY", "secrets", "SecretValue", "token", "access_token"),
    *("accessToken", "refreshtoken", "X-Auth-Token", "csrfmiddlewaretoken", "tokenValue"),
    *("api_key", "apiKey", "X-API-KEY", "apikey", "OPENAI_API_KEY", "private_key"),
    *("privateKey", "account-key", "authorization", "Proxy-Authorization", "auth", "http_auth"),
    *("jwt", "id_jwt", "bearer", "oauth_token", "cookie", "Set-Cookie", "cookies", "session"),
    *("session_id", "JSESSIONID", "PHPSESSID", "connect.sid", "sid", "credential"),
    *("credentials", "google_credentials", "signature", "sig", "X-Amz-Signature"),
    *("X-Amz-Credential", "credit_card", "cardNumber", "cvv", "iban", "ssn", "otp"),
    *("PGPASSWORD", "pass", "smtp_pass", "dbpass", "hasło", "b'authorization'"),
)
OTHER_NAMES: Final = (
    *("author", "authors", "authority", "authenticated", "oauth_provider", "auth_method"),
    *("auth_type", "auth_user", "tokenizer", "tokenize", "token_type", "token_count"),
    *("max_tokens_per_minute", "num_tokens_used", "token_url", "key", "keys", "monkey"),
    *("keyboard", "primary_key", "foreign_key", "cache_key", "keyword", "public_key", "hotkey"),
    *("password_file", "password_policy", "passwordLength", "password_changed_at"),
    *("secret_name", "cookie_name", "bypass", "compass", "passenger", "passed", "pass_rate"),
    *("first_pass_yield", "session_timeout", "session_count", "secretary", "design", "signal"),
    *("assign", "signed", "insight", "inside", "side", "cookiecutter", "discard"),
    *("account_sid", "Sid", "pin", "code", "hash", "name", "user", "value", "email", ""),
)
