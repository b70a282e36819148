# Varnish with what it does by itself; backends get the same fields as from everybody.
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}

sub vcl_backend_fetch {
    set bereq.http.X-Forwarded-Proto = "http";
    set bereq.http.X-Forwarded-Host = bereq.http.Host;
}
