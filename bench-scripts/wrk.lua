-- Prints wrk's own figures as one machine-readable line. The request stays static (no `request` function),
-- so that no Lua runs per request, unless each one is to be for another URL. Arguments after `--`: method, bytes of
-- body, and then, for requests that each have a URL of their own, a word which the queries of these URLs begin with.

local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

function init(args)
   wrk.method = args[1] or "GET"
   local body_bytes = tonumber(args[2] or 0)
   if body_bytes > 0 then
      wrk.body = string.rep("p", body_bytes)
   end
   if args[3] then
      ask_for_new_urls(args[3])
   end
end

function ask_for_new_urls(token)
   local count = 0
   local start = wrk.method .. " " .. wrk.path .. "?" .. token .. "-" .. number .. "-"
   local rest = " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n\r\n"
   function request()
      count = count + 1
      return start .. count .. rest
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
