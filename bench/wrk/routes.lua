-- 64 services in turn, spread over as many as the subject has: `-- COUNT`.
local requests = {}
local at = 0

function init(args)
    local count = tonumber(args[1])
    for i = 0, 63 do
        local path = string.format("/api/v1/service%d/items/%d/notes", i * 7919 % count, i)
        requests[i + 1] = wrk.format("GET", path)
    end
end

function request()
    at = at % 64 + 1
    return requests[at]
end
