-- One request to the origin for all who ask the same, and the age of what is kept.
--
-- A blocked playlist or a hinted part is asked for by everybody at once, before it exists. nginx's own
-- proxy_cache_lock lets one of them through, but the others look only every 500 ms whether it is there: more than
-- two parts. Here they wait on a semaphore. Who comes first starts a fetch through the server on the Unix socket,
-- which stores the answer; then all are let go, and nginx serves each from the cache.
--
-- A fetch belongs to no client: one that leaves takes nothing from the others.

local semaphore = require "ngx.semaphore"

local M = {}

-- Key → when its answer came, in Unix seconds; there for as long as the answer is fresh.
local stored = ngx.shared.lectern_stored
-- Key → FETCHING by some worker or, for a moment, the status that it was told.
local claims = ngx.shared.lectern_claims
local FETCHING = 0
-- Key → the fetch that this worker's requests wait for: { done = semaphore, waiting = n, status = HTTP status }.
local fetches = {}

local SOCKET = "unix:/run/lectern-edge.sock"
-- Seconds. More than proxy_read_timeout, which ends a fetch.
local PATIENCE = 35
-- How often a worker looks whether another one is done: milliseconds of latency against wake-ups, one per key.
local LOOK_EVERY = 0.005
-- For how long at most it is remembered that something is stored. nginx may drop what nobody asked for in an hour.
local LONGEST = 3600

-- The delivery directives in the order in which players must send them; nothing else of a query counts.
-- Whatever is wrong with them (twice, not a number) is left for the origin to refuse.
local DIRECTIVES = { "_HLS_msn", "_HLS_part", "_HLS_skip" }

local function directives(args)
    local found = {}
    for _, name in ipairs(DIRECTIVES) do
        for pair in args:gmatch("[^&]+") do
            if pair:match("^[^=]*") == name then
                found[#found + 1] = pair
            end
        end
    end
    return table.concat(found, "&")
end

-- Texts are kept in two forms; of media there is one.
local function coding(path, accepted)
    if not path:find("%.m3u8$") and not path:find("%.json$") and not path:find("%.vtt$") then
        return ""
    end
    for name, weight in accepted:lower():gmatch("([^,;%s]+)([^,]*)") do
        if name == "gzip" or name == "x-gzip" or name == "*" then
            local q = weight:match("q=([%d.]+)")
            return tonumber(q or 1) == 0 and "" or "gzip"
        end
    end
    return ""
end

-- What a playlist or an index says now: never taken from a copy that ran out.
local function changes(path)
    return path:find("%.m3u8$") or path:find("%.json$") or path:find("%.vtt$")
end

-- Seconds for which a shared cache may keep it; nil: not at all.
local function lifetime(head)
    local control = head:match("\r\n[Cc]ache%-[Cc]ontrol:([^\r]*)") or ""
    if control:find("no%-store") or control:find("private") or control:find("no%-cache") then
        return nil
    end
    return tonumber(control:match("s%-maxage=(%d+)") or control:match("max%-age=(%d+)"))
end

-- When the origin made what the edge kept from before.
local function date(head)
    local text = head:match("\r\n[Dd]ate:%s*([^\r]*)")
    return text and ngx.parse_http_time(text)
end

-- Asks the filling server. Gives the head of the answer once all of it is stored; HTTP/1.0, because it closes the
-- connection after that and not before.
local function ask(path, query, accepted)
    local socket = ngx.socket.tcp()
    socket:settimeouts(2000, 2000, PATIENCE * 1000)
    local ok, err = socket:connect(SOCKET)
    if not ok then
        return nil, err
    end
    socket:send({
        "GET ", path, query ~= "" and "?" or "", query, " HTTP/1.0\r\nHost: lectern\r\n",
        accepted ~= "" and "Accept-Encoding: gzip\r\n" or "",
        changes(path) and "X-Edge-Refresh: 1\r\n" or "",
        "\r\n",
    })
    local head, failed = socket:receiveuntil("\r\n\r\n")()
    while head do
        local more, ended = socket:receive(65536)
        if not more then
            failed = ended ~= "closed" and ended or nil
            break
        end
    end
    socket:close()
    return not failed and head, failed
end

-- Gives the status; what may be kept is then known to be.
local function fetch(key, path, query, accepted)
    local head, err = ask(path, query, accepted)
    if not head then
        ngx.log(ngx.ERR, "cannot fetch ", key, ": ", err)
        return 504
    end
    local now, seconds = ngx.now(), lifetime(head)
    if seconds then
        local hit = head:find("\r\nX%-Edge%-Cache: HIT", 1)
        local at = hit and date(head) or now
        local left = math.min(at + seconds - now, LONGEST)
        if left > 0 then
            stored:set(key, at, left)
        end
    end
    return tonumber(head:match("^HTTP/1%.%d (%d%d%d)")) or 502
end

-- Fetches unless another worker does; then waits for that one, and takes what it was told.
local function fetch_once(key, path, query, accepted)
    local give_up = ngx.now() + PATIENCE
    local looked = false
    while not claims:add(key, FETCHING, PATIENCE) do
        local told = claims:get(key)
        if stored:get(key) then
            return 200
        elseif looked and told and told ~= FETCHING then
            return told
        elseif told and told ~= FETCHING then
            -- A refusal from before this was asked.
            claims:delete(key)
        elseif ngx.now() > give_up then
            return 504
        else
            ngx.sleep(LOOK_EVERY)
            looked = true
        end
    end
    -- Stored since this was asked.
    if stored:get(key) then
        claims:delete(key)
        return 200
    end
    local ok, status = pcall(fetch, key, path, query, accepted)
    status = ok and status or 502
    claims:set(key, status, 4 * LOOK_EVERY)
    return status
end

-- Runs without a request of its own.
local function run(premature, key, ...)
    local this = fetches[key]
    this.status = premature and 503 or fetch_once(key, ...)
    fetches[key] = nil
    this.done:post(this.waiting)
end

-- Waits for the one fetch of this key; gives its status.
local function coalesced(key, ...)
    local this = fetches[key]
    if not this then
        this = { done = semaphore.new(0), waiting = 0 }
        fetches[key] = this
        local ok, err = ngx.timer.at(0, run, key, ...)
        if not ok then
            fetches[key] = nil
            ngx.log(ngx.ERR, "cannot fetch ", key, ": ", err)
            return 503
        end
    end
    this.waiting = this.waiting + 1
    if not this.done:wait(PATIENCE + 5) then
        return 504
    end
    return this.status
end

local function refuse(status, title)
    ngx.status = status
    ngx.header["Content-Type"] = "application/problem+json"
    ngx.header["Cache-Control"] = "no-store"
    ngx.header["Access-Control-Allow-Origin"] = "*"
    ngx.header["Retry-After"] = "1"
    ngx.print('{"type":"about:blank","title":"', title, '","status":', status, "}\n")
    return ngx.exit(ngx.HTTP_OK)
end

-- Before an object of a broadcast is served: makes the request what the cache knows, and waits until it is stored.
function M.access()
    local method = ngx.req.get_method()
    if method ~= "GET" and method ~= "HEAD" then
        return ngx.exec("@origin")
    end
    -- As nginx decoded it, so that one object has one key however its name was escaped.
    local path = ngx.escape_uri(ngx.var.uri, 0)
    local query = path:find("%.m3u8$") and directives(ngx.var.args or "") or ""
    local accepted = coding(path, ngx.var.http_accept_encoding or "")
    local key = path .. (query ~= "" and "?" or "") .. query .. "|" .. accepted
    ngx.var.edge_key = key
    ngx.req.set_uri_args(query)
    ngx.req.set_header("Accept-Encoding", accepted ~= "" and accepted or nil)
    if stored:get(key) then
        return
    end
    -- The origin said that it cannot: that is for all who waited. Where it cannot be reached, nginx decides what
    -- an old copy is good for.
    if coalesced(key, path, query, accepted) == 503 then
        return refuse(503, "Service Unavailable")
    end
end

-- RFC 9111 5.1; hls.js reads from it how far behind the live edge a playlist is. nginx does not write it.
function M.age()
    local status = ngx.var.upstream_cache_status
    if not status or status == "MISS" or status == "BYPASS" or status == "EXPIRED" then
        return
    end
    -- To the millisecond where it is known: Date is whole seconds, and the origin's clock.
    local at = stored:get(ngx.var.edge_key)
    if not at then
        local made = ngx.var.upstream_http_date
        at = made and ngx.parse_http_time(made) or ngx.now()
    end
    local before = tonumber(ngx.var.upstream_http_age) or 0
    ngx.header["Age"] = before + math.max(0, math.floor(ngx.now() - at))
end

function M.unreachable()
    return refuse(502, "Bad Gateway")
end

return M
