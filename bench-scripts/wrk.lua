-- Prints wrk's own figures as one machine-readable line. The request stays static (no `request` function),
-- so that no Lua runs per request. Arguments after `--`: method, bytes of body.

function init(args)
   wrk.method = args[1] or "GET"
   local body_bytes = tonumber(args[2] or 0)
   if body_bytes > 0 then
      wrk.body = string.rep("p", body_bytes)
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'load-figures {"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,' ..
      '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
      summary.requests, summary.bytes, summary.duration,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
