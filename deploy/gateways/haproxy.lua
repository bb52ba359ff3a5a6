-- The action lua.corbel: asks Corbel's forward-auth about the request. Who is admitted goes on with Corbel's
-- identity headers; any other answer goes to the client as it is.

local CORBEL = "http://127.0.0.1:8080/v1/auth/forward"
local TIMEOUT_MS = 3000

-- What Corbel needs to know of a request, beside its method, target and address.
local ASKED_WITH = { "authorization", "x-api-key", "x-request-id", "traceparent" }
local IDENTITY = { "x-corbel-tenant", "x-corbel-key-id", "x-corbel-plan", "x-corbel-scopes" }
local TOLD = { "content-type", "www-authenticate", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id" }

local function question(txn)
  local sent, headers = txn.http:req_get_headers(), {}
  for _, name in ipairs(ASKED_WITH) do
    if sent[name] then
      headers[name] = { sent[name][0] }
    end
  end
  headers["x-original-method"] = { txn.sf:method() }
  headers["x-original-uri"] = { txn.sf:pathq() }
  headers["x-forwarded-for"] = { txn.sf:src() }
  return headers
end

local function refuse(txn, answer)
  local headers = {}
  for _, name in ipairs(TOLD) do
    headers[name] = answer.headers[name]
  end
  txn:done(txn:reply({ status = answer.status, headers = headers, body = answer.body }))
end

local function first(answer, name)
  local values = answer.headers[name]
  return values and (values[0] or values[1])
end

core.register_action("corbel", { "http-req" }, function(txn)
  local answer = core.httpclient():get({ url = CORBEL, headers = question(txn), timeout = TIMEOUT_MS })
  if not answer or not answer.status or answer.status == 0 then
    txn:done(txn:reply({ status = 503, headers = { ["retry-after"] = { "1" } } }))
  elseif answer.status ~= 200 then
    refuse(txn, answer)
  else
    for _, name in ipairs(IDENTITY) do
      local value = first(answer, name)
      if value then
        txn.http:req_set_header(name, value)
      end
    end
    txn:set_var("txn.ratelimit", first(answer, "ratelimit"))
    txn:set_var("txn.ratelimit_policy", first(answer, "ratelimit-policy"))
  end
end)
